"""Atomic writes: a file or folder is whole, or it is not there."""

import contextlib
import errno
import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Generator, Iterator
from pathlib import Path

from holohisto.errors import HolohistoError

FULL_BYTES = 2**20
"""A disk with less free space is reported as full when a write fails."""
ABANDONED_SECONDS = 60
"""Age from which a temporary file that no process has locked is removed."""
FULL = re.compile("no space left|file too large|quota exceeded|read-only file", re.IGNORECASE)
"""In the messages of libraries whose errors have no number."""
DISK_ERRORS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EIO,
    errno.EACCES,
    errno.EPERM,
}
"""Errors of a disk that is full, read-only, failing or not the user's, whatever was written."""


@contextlib.contextmanager
def replacing(path: Path) -> Generator[Path, None, None]:
    """Yield a temporary path in the folder of `path`; rename it to `path` when all went well.

    The data is on the disk (fsync) before the rename; after an error the temporary file is
    removed and an older `path` stays as it was. What killed writers of the same path left behind
    is removed first.

    Raises:
        HolohistoError: the folder cannot be written, or the disk is full.
    """
    path = Path(path)
    make_folder_of(path)
    remove_abandoned(path)
    try:
        handle, name = tempfile.mkstemp(
            prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent
        )
    except OSError as error:
        raise HolohistoError(
            path,
            f"cannot be written: {error.strerror}",
            advice="check that the folder exists and that you may write to it",
        ) from error
    temporary = Path(name)
    try:
        _lock(handle)
        yield temporary
        with contextlib.suppress(OSError):  # some disks have no permissions: FAT, exFAT, CIFS
            os.chmod(temporary, 0o666 & ~_umask())
        _sync(temporary)
        os.replace(temporary, path)
        with contextlib.suppress(OSError):  # some disks cannot sync a folder
            _sync(path.parent)
    except OSError as error:
        if error.errno in DISK_ERRORS or error.filename in (None, name, str(path)):
            raise HolohistoError(path, f"cannot be written: {error.strerror or error}") from error
        raise
    except HolohistoError:
        raise
    except Exception as error:
        # Every library reports it differently.
        if FULL.search(str(error)) or is_full(path.parent):
            raise HolohistoError(path, "cannot be written: the disk is full") from error
        raise
    finally:
        os.close(handle)
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(path: Path) -> Generator[Path, None, None]:
    """Yield a new folder beside `path`, which replaces it when all went well.

    Raises:
        HolohistoError: the folder cannot be written.
    """
    path = Path(path)
    make_folder_of(path)
    remove_abandoned(path)
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise HolohistoError(path, f"cannot be written: {error.strerror}") from error
    try:
        _lock(handle)
        yield folder
        with contextlib.suppress(OSError):
            os.chmod(folder, 0o777 & ~_umask())
        if path.exists():
            shutil.rmtree(path)
        folder.rename(path)
    except OSError as error:
        if error.errno in DISK_ERRORS:
            raise HolohistoError(path, f"cannot be written: {error.strerror}") from error
        raise
    finally:
        os.close(handle)
        shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned(path: Path) -> None:
    """Remove temporary files and folders of `path` that killed writers left behind.

    They are at least a minute old and no process has locked them. Where the disk knows no locks,
    nothing is removed.
    """
    for left in _temporaries(path):
        with contextlib.suppress(OSError):  # in use, of another user, or just removed
            if time.time() - left.lstat().st_mtime < ABANDONED_SECONDS or left.is_symlink():
                continue
            handle = os.open(left, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if left.is_dir():
                    shutil.rmtree(left)
                else:
                    left.unlink()
            finally:
                os.close(handle)


def _temporaries(path: Path) -> Iterator[Path]:
    """Files with temporary names of `path`, or with temporary names of those, in its folder."""
    name, random = (
        re.escape(path.name),
        rf"\.[a-z0-9_]{{8}}({re.escape(path.suffix)})?",
    )  # tempfile's
    temporary = re.compile(rf"\.{name}{random}|\.\.{name}{random}{random}", re.DOTALL)
    with contextlib.suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            if temporary.fullmatch(entry.name):
                yield Path(entry.path)


def is_full(folder: Path) -> bool:
    """Return whether nothing can be written to a folder: the disk or the quota is full."""
    try:
        if shutil.disk_usage(folder).free < FULL_BYTES:
            return True
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(2**16))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno in DISK_ERRORS
    return False


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
        temporary.write_text(text, encoding="utf-8")


def _lock(handle: int) -> None:
    with contextlib.suppress(OSError):  # a disk without locks: then nothing is removed there
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


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
