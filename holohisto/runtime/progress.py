"""Progress of long work: a bar on a terminal, a line now and then in a log."""

import contextlib
import logging
import sys
import time
from collections.abc import Generator, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
LINE_SECONDS = 10.0
"""Seconds between two lines of progress in a log."""
logger = logging.getLogger(__name__)
_lines_only = False


def lines_only() -> None:
    """Write lines, not bars, for the rest of the process (several jobs share the terminal)."""
    global _lines_only
    _lines_only = True


def track(items: Iterable[Item], total: int, what: str, unit: str = "tile") -> Iterator[Item]:
    """Yield `items` and report the progress and the time left.

    A tqdm bar when stderr is a terminal, else a log line every 10 seconds.
    """
    if sys.stderr.isatty() and not _lines_only:
        from tqdm import tqdm

        yield from tqdm(items, total=total, desc=what, unit=unit)
        return
    start = reported = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - reported >= LINE_SECONDS and done < total:
            reported = now
            left = (now - start) / done * (total - done)
            logger.info("%s: %d/%d %ss, %s left", what, done, total, unit, _clock(left))


@contextlib.contextmanager
def phase(what: str) -> Generator[None, None, None]:
    """Log how long a phase took."""
    start = time.monotonic()
    yield
    logger.info("%s: %.1f s", what, time.monotonic() - start)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    return f"{minutes}:{seconds:02d}"
