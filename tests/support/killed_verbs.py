"""Kill verbs at random times and run them again.

A script: python tests/support/killed_verbs.py FOLDER KILLS GROUP prints, as JSON, one outcome for
each verb of a group and kill. Verbs run in forks of this process: nothing is imported again.
"""

import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import small_disk
import torch  # noqa: F401  # before the forks

from holohisto import cli
from holohisto.commands import (  # noqa: F401
    adopt,
    check,
    cohort,
    foreground,
    gallery,
    infer,
    init,
    mask,
    metrics,
    report,
    segment,
    token_value,
    tokenizer,
    tokens,
    train,
)
from holohisto.demo import cohort as demo_cohort  # noqa: F401
from holohisto.runtime.atomic import ABANDONED_SECONDS

LONGEST = 120
"""Seconds after which a verb hangs."""


def started(words: list[str]) -> int:
    """Run a verb in a fork; return its process id."""
    if (child := os.fork()) == 0:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        os._exit(cli.main(words))
    return child


def ended(child: int, after: float = LONGEST) -> bool:
    """Wait; kill the process if it runs longer. Whether it was killed."""
    end = time.monotonic() + after
    while time.monotonic() < end:
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def prepared(folder: Path, disk: Path, group: str) -> dict[str, list[str]]:
    """Write the inputs in a fork too: threads that it starts would not survive the next one."""
    if (child := os.fork()) == 0:
        os.dup2(2, 1)
        lines = small_disk.GROUPS[group](folder, disk)
        (folder / "verbs.json").write_text(json.dumps(lines))
        os._exit(0)
    assert not ended(child)
    return json.loads((folder / "verbs.json").read_text())


def emptied(disk: Path) -> None:
    shutil.rmtree(disk, ignore_errors=True)
    disk.mkdir()


def hidden(disk: Path) -> list[str]:
    return sorted(path.name for path in disk.rglob(".*"))


def main(folder: Path, kills: int, group: str) -> None:
    disk, draw, found = folder / "disk", random.Random(5), []
    emptied(disk)
    for verb, words in prepared(folder, disk, group).items():
        emptied(disk)
        start = time.monotonic()
        assert not ended(started(words)), verb
        seconds = time.monotonic() - start
        whole = stable(disk)
        for _ in range(kills):
            emptied(disk)
            killed = ended(started(words), draw.uniform(0.1, 0.9) * seconds)
            left, litter = stable(disk), hidden(disk)
            for path in disk.rglob(".*"):
                old = time.time() - 2 * ABANDONED_SECONDS
                os.utime(path, (old, old))
            hung = ended(started(words))
            outcome = {"verb": verb, "killed": killed, "hung": hung, "left": left, "whole": whole}
            outcome |= {"again": stable(disk), "litter": hidden(disk), "swept": len(litter)}
            found.append(outcome)
    print(json.dumps(found))


def stable(disk: Path) -> dict[str, str]:
    """Digests of the whole files, without those that hold times."""
    contents = small_disk.contents(disk)
    timed = ("facts.json", "t.json")
    return {
        name: digest
        for name, digest in contents.items()
        if name not in timed and not any(part[0] == "." for part in Path(name).parts)
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
