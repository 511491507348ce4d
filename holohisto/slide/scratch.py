"""A slide on node-local disk while a job reads it."""

import contextlib
import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from holohisto.errors import HolohistoError
from holohisto.runtime.units import bytes_text
from holohisto.slide.integrity import file_bytes

logger = logging.getLogger(__name__)

PREFIX = "holohisto-slide-"
SPARE_BYTES = 2**30
"""Left free on the scratch disk."""


@contextlib.contextmanager
def staged(image: Path, scratch: str | None) -> Iterator[Path]:
    """Yield a copy of the slide in a folder of its own under `scratch`, removed at the end.

    Folders of jobs that were killed before they could remove theirs are removed first.
    Variables such as `$TMPDIR` are those of this job. Side files of a MIRAX slide come along. Where
    `scratch` is empty, or the disk has no room, `image` itself is yielded.

    Raises:
        HolohistoError: there is no such folder, or a copy has not the size of its original.
    """
    if not scratch:
        yield image
        return
    place = Path(os.path.expandvars(scratch))
    if not place.is_dir():
        raise HolohistoError("scratch", f"no such folder on this node: {place}", found=scratch)
    _remove_abandoned(place)
    files = {path: path.stat().st_size for path in file_bytes(image)}
    total, free = sum(files.values()), shutil.disk_usage(place).free
    if total + SPARE_BYTES > free:
        logger.warning(
            "scratch %s has %s free, too little for %s: reading %s where it is",
            place,
            bytes_text(free),
            bytes_text(total),
            image,
        )
        yield image
        return
    with _own_folder(place) as folder:
        for path, size in files.items():
            _copy(path, Path(folder) / path.relative_to(image.parent), size)
        logger.info("%s copied to %s: %s", image, folder, bytes_text(total))
        yield Path(folder) / image.name


@contextlib.contextmanager
def _own_folder(place: Path) -> Iterator[str]:
    """A temporary folder that is locked as long as this process lives."""
    with contextlib.ExitStack() as stack:
        with _lock(place):  # else it could be taken for abandoned before it is locked
            name = stack.enter_context(tempfile.TemporaryDirectory(prefix=PREFIX, dir=place))
            stack.enter_context(_lock(Path(name)))
        yield name


def _remove_abandoned(place: Path) -> None:
    """Remove this user's folders under `place` whose process has ended."""
    with _lock(place):
        for folder in place.glob(f"{PREFIX}*"):
            with contextlib.suppress(OSError):  # another's, in use, or gone meanwhile
                if folder.stat().st_uid == os.getuid():
                    with _lock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
                        shutil.rmtree(folder)
                    logger.info("removed %s, left behind by a job that was killed", folder)


@contextlib.contextmanager
def _lock(folder: Path, kind: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Hold a folder's lock; it ends with the process at the latest."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, kind)
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
