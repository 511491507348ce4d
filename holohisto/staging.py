"""A slide on node-local disk while a job reads it."""

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from holohisto.cost import bytes_text
from holohisto.errors import HolohistoError
from holohisto.slide.whole import file_bytes

logger = logging.getLogger(__name__)

SPARE_BYTES = 2**30
"""Left free on the scratch disk."""


@contextlib.contextmanager
def staged(image: Path, scratch: str | None) -> Iterator[Path]:
    """Yield a copy of the slide in a folder of its own under `scratch`, removed at the end.

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
    files = {path: path.stat().st_size for path in file_bytes(image)}
    total, free = sum(files.values()), shutil.disk_usage(place).free
    if total + SPARE_BYTES > free:
        logger.warning(
            "scratch %s has %s free, too little for %s: reading %s where it is",
            place, bytes_text(free), bytes_text(total), image,
        )  # fmt: skip
        yield image
        return
    with tempfile.TemporaryDirectory(prefix="holohisto-", dir=place) as folder:
        for path, size in files.items():
            _copy(path, Path(folder) / path.relative_to(image.parent), size)
        logger.info("%s copied to %s: %s", image, folder, bytes_text(total))
        yield Path(folder) / image.name


def _copy(source: Path, target: Path, size: int) -> None:
    target.parent.mkdir(exist_ok=True)
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise HolohistoError(source, f"cannot be copied to scratch: {error.strerror}") from error
    if (copied := target.stat().st_size) != size:
        raise HolohistoError(
            source, f"its copy on scratch {target.parent} is not whole",
            found=f"{copied} bytes", allowed=f"{size} bytes", advice="run again",
        )  # fmt: skip
