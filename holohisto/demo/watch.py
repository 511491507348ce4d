"""One line of progress for a whole run of Snakemake, whose output goes to a file.

snakemake ... 2>&1 | python -m holohisto.demo.watch logs/demo.log
"""

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

FORMAT = "{percentage:3.0f} %|{bar:30}| {n_fmt}/{total_fmt} jobs, {elapsed} {postfix}"
DONE = re.compile(r"(\d+) of (\d+) steps \(.+\) done")
STARTED = re.compile(r"(?:local)?rule (\w+):")
FAILED = re.compile(r"(?:Error in rule|\w*(?:Exception|Error))\b.*")


class Watch:
    """Shows how far a run is, and its errors."""

    def __init__(self, screen: TextIO) -> None:
        """`screen` gets the line of progress, which is quiet where it is no terminal."""
        self.screen = screen
        self.bar = tqdm(
            total=0,
            unit="job",
            file=screen,
            disable=not screen.isatty(),
            bar_format=FORMAT,
        )

    def line(self, text: str) -> None:
        """Update the screen by a line of Snakemake's output."""
        if done := DONE.fullmatch(text):
            self.bar.total = int(done[2])
            self.bar.update(int(done[1]) - self.bar.n)
        elif started := STARTED.fullmatch(text):
            self.bar.set_postfix_str(started[1])
        elif FAILED.fullmatch(text):
            self.bar.write(text, file=self.screen)


def watch(lines: Iterable[str], log: TextIO, screen: TextIO) -> None:
    """Copy a run's output to its log as it comes, and show how far the run is.

    Args:
        lines: Snakemake's output.
        log: Where it is kept.
        screen: Where progress and errors are shown.
    """
    shown = Watch(screen)
    for text in lines:
        log.write(text)
        log.flush()
        shown.line(text.rstrip())
    shown.bar.close()


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        watch(sys.stdin, file, sys.stderr)
