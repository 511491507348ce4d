"""Atomic writes: a file is whole, or it is not there."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

from holohisto.errors import HolohistoError

FULL_BYTES = 2**20
"""A disk with less free space is reported as full when a write fails."""


@contextlib.contextmanager
def replacing(path: Path) -> Generator[Path, None, None]:
    """Yield a temporary path in the folder of `path`; rename it to `path` when all went well.

    The data is on the disk (fsync) before the rename; after an error the temporary file is
    removed and an older `path` stays as it was.

    Raises:
        HolohistoError: the folder cannot be written, or the disk is full.
    """
    path = Path(path)
    make_folder_of(path)
    try:
        handle, name = tempfile.mkstemp(
            prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent
        )
        os.close(handle)
    except OSError as error:
        raise HolohistoError(
            path,
            f"cannot be written: {error.strerror}",
            advice="check that the folder exists and that you may write to it",
        ) from error
    temporary = Path(name)
    try:
        yield temporary
        os.chmod(temporary, 0o666 & ~_umask())
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        if error.filename in (None, name, str(path)):
            raise HolohistoError(path, f"cannot be written: {error.strerror or error}") from error
        raise
    except Exception as error:
        if shutil.disk_usage(path.parent).free < FULL_BYTES:  # every library reports it differently
            raise HolohistoError(path, "cannot be written: the disk is full") from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def make_folder_of(path: Path) -> None:
    """Make the folder that `path` is to be written in, unless it is there.

    Raises:
        HolohistoError: it cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = f"cannot be written: {error.strerror}"
        if isinstance(error, FileExistsError):
            problem = f"cannot be written: {path.parent} is a file, not a folder"
        raise HolohistoError(path, problem) from error


def write_text(path: Path, text: str) -> None:
    """Write a small text file atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
