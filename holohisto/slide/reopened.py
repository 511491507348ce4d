"""A slide that may be closed between two reads, for cohorts of more images than memory holds."""

from collections.abc import Callable

import numpy as np

from holohisto.runtime.open_files import OpenFiles
from holohisto.slide.scale import Scale
from holohisto.slide.slide import Slide

DECODED_AT_ONCE = "libvips"
"""Reader that keeps the whole decoded picture, 3 bytes a pixel."""
READER_BYTES = {"openslide": 32 * 2**20}
"""Bytes of a reader's own cache of tiles."""
OTHER_BYTES = 8 * 2**20
"""Bytes that any other reader is taken to hold: directories of tiles."""


class ReopenedSlide:
    """What `Tissue` reads of a slide, from a file that is opened again when it was closed."""

    def __init__(self, files: OpenFiles, opener: Callable[[], Slide]) -> None:
        """Open the slide once, and learn its background and fingerprint.

        Args:
            files: The open files that it shares the memory with.
            opener: Opens the slide.

        Raises:
            HolohistoError: as of `opener`.
        """
        self._files = files
        self._opener = lambda: _Kept(opener())
        with self._files.use(self, self._opener) as kept:
            self.background: tuple[int, int, int] = kept.slide.background
            self.fingerprint: str = kept.slide.fingerprint
            self.size: tuple[int, int] = kept.slide.size

    def resampled(self, xy: tuple[int, int], size: tuple[int, int], scale: Scale) -> np.ndarray:
        """Return the pixels of a rectangle; see `Slide.resampled`."""
        with self._files.use(self, self._opener) as kept:
            return kept.slide.resampled(xy, size, scale)


class _Kept:
    """An open slide with the bytes that its reader holds."""

    def __init__(self, slide: Slide) -> None:
        self.slide = slide
        width, height = slide.size
        decoded = 3 * width * height
        known = READER_BYTES.get(slide.reader, OTHER_BYTES)
        self.kept_bytes = decoded if slide.reader == DECODED_AT_ONCE else known

    def close(self) -> None:
        self.slide.close()
