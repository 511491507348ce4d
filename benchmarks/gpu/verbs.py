"""Running the program's verbs, each in a process of its own as the workflow does."""

import subprocess
import sys
import time
from itertools import chain
from typing import Any

from benchmarks.gpu.machine import Busy


def words(verb: str, *positional: object, **options: object) -> list[str]:
    """Return the command line of a verb; `tokens_options=X` becomes `--tokens-options X`."""
    pairs = ((f"--{name.replace('_', '-')}", str(value)) for name, value in options.items())
    return [verb, *map(str, positional), *chain.from_iterable(pairs)]


def run(command: list[str]) -> dict[str, Any]:
    """Run one verb to its end.

    Args:
        command: From `words`.

    Returns:
        `seconds` from start to end of the process and `gpu_busy`, a share or None.

    Raises:
        RuntimeError: the verb failed; the message is the last line of its log.
    """
    with Busy() as busy:
        start = time.monotonic()
        process = _start(command)
        _require(process, command)
        seconds = time.monotonic() - start
    return {"seconds": round(seconds, 2), "gpu_busy": busy.share}


def run_together(commands: list[list[str]]) -> None:
    """Run several verbs at the same time.

    Raises:
        RuntimeError: one of them failed.
    """
    processes = [_start(command) for command in commands]
    for process, command in zip(processes, commands, strict=True):
        _require(process, command)


def _start(command: list[str]) -> subprocess.Popen[str]:
    whole = [sys.executable, "-m", "holohisto.cli", *command]
    return subprocess.Popen(whole, stderr=subprocess.PIPE, text=True)


def _require(process: subprocess.Popen[str], command: list[str]) -> None:
    assert process.stderr is not None
    last = "no output"
    for line in process.stderr:
        print(line, end="", flush=True)
        last = line.strip() or last
    if process.wait() != 0:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}: {last}")
