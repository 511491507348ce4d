"""Copy a slide to node-local disk for the duration of a job."""

import contextlib
import fcntl
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from holohisto.errors import HolohistoError
from holohisto.runtime.paths import expanded
from holohisto.runtime.units import bytes_text
from holohisto.slide.integrity import file_bytes

logger = logging.getLogger(__name__)

PREFIX = "holohisto-slide-"
MARK = ".holohisto-staged"
"""File that marks a staging folder: others of a similar name are the user's own."""
SPARE_BYTES = 2**30
"""Space that a copy leaves free on the scratch disk."""


@contextlib.contextmanager
def staged(image: Path, scratch: str | None) -> Iterator[Path]:
    """Yield a copy of the slide in a temporary folder on node-local disk.

    The copy is removed at the end. Folders that killed jobs left behind are removed first. The
    files of a MIRAX slide are copied with it.

    Args:
        image: The slide.
        scratch: Folder for copies; `env:TMPDIR` is TMPDIR of this job. Where it is
            empty or None, or the disk is too full, `image` itself is yielded.

    Raises:
        HolohistoError: `scratch` is no folder, or a copy differs from its original in size.
    """
    if not scratch:
        yield image
        return
    disk = expanded(scratch)
    if not disk.is_dir():
        raise HolohistoError("scratch", f"no such folder on this node: {disk}", found=scratch)
    _remove_abandoned(disk)
    files = {path: path.stat().st_size for path in file_bytes(image)}
    total, free = sum(files.values()), shutil.disk_usage(disk).free
    if total + SPARE_BYTES > free:
        logger.warning(
            "scratch %s has %s free, too little for a copy of %s: reading %s itself",
            disk,
            bytes_text(free),
            bytes_text(total),
            image,
        )
        yield image
        return
    with _own_folder(disk) as folder:
        for path, size in files.items():
            _copy(path, Path(folder) / path.relative_to(image.parent), size)
        logger.info("%s copied to %s: %s", image, folder, bytes_text(total))
        yield Path(folder) / image.name


@contextlib.contextmanager
def _own_folder(disk: Path) -> Iterator[str]:
    """A temporary folder, locked for as long as this process runs."""
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=disk) as name, _lock(Path(name)):
        (Path(name) / MARK).touch()  # after the lock: from here on a free lock means a dead process
        yield name


def _remove_abandoned(disk: Path) -> None:
    """Remove this user's staging folders on `disk` whose process has ended.

    The disk is shared: only a folder with the mark is removed, that is no link and not locked. A
    running process locks its folder before it marks it. Nothing here waits for another user.
    """
    for folder in disk.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # another user's, in use, or just removed
            state = folder.lstat()
            if stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid():
                (folder / MARK).lstat()
                with _lock(folder):
                    shutil.rmtree(folder)
                logger.info("removed %s, left behind by a job that was killed", folder)


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Hold a folder's lock; the system releases it when the process ends.

    Raises:
        BlockingIOError: another process holds it.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _copy(source: Path, target: Path, size: int) -> None:
    target.parent.mkdir(exist_ok=True)
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise HolohistoError(source, f"cannot be copied to scratch: {error.strerror}") from error
    if (copied := target.stat().st_size) != size:
        raise HolohistoError(
            source,
            f"its copy on scratch {target.parent} is not whole",
            found=f"{copied} bytes",
            allowed=f"{size} bytes",
            advice="run again",
        )
