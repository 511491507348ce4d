"""What a parser makes of a file: a value, or a refusal in short, printable lines."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from holohisto.errors import LONGEST, HolohistoError

REFUSED = object()


def parsed(read: Callable[[Path], Any], path: Path, content: bytes) -> Any:
    """Return the value of a file with this content, or REFUSED; every other outcome is a bug."""
    path.write_bytes(content)
    try:
        return read(path)
    except HolohistoError as error:
        lines = str(error).split("\n")
        assert all(len(line) <= LONGEST and line.isprintable() for line in lines), lines
        return REFUSED
