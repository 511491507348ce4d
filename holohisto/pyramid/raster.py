"""Read the one-channel TIFFs that this package writes."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from holohisto.errors import HolohistoError
from holohisto.runtime import seal
from holohisto.runtime.arithmetic import ceil_div
from holohisto.slide.tiff import Page

BAND = 512
"""Rows of a band by default."""


class Raster:
    """A one-channel 8-bit tiled TIFF, read by rectangles or by bands in bounded memory.

    Attributes:
        path: The file.
        size: Width and height in pixels.
        mpp: Micrometres per pixel along x; None without resolution tags.
        mpp_y: The same along y.
    """

    def __init__(self, path: Path, sealed: bool = False) -> None:
        """Open `path`.

        Args:
            path: The file.
            sealed: Whether `write_rows` wrote it, with a digest at its end, which is checked.

        Raises:
            HolohistoError: the file is missing, truncated, not such a TIFF, or differs from what
                was written.
        """
        self.path = Path(path)
        if sealed:
            seal.require_file(self.path)
        try:
            self._handle = os.open(self.path, os.O_RDONLY)
        except OSError as error:
            raise HolohistoError(self.path, f"cannot be read: {error.strerror}") from error
        try:
            with tifffile.TiffFile(self.path) as tiff:
                page: Any = tiff.pages.first
                self._page = Page(self.path, self._handle, page)
                self._description = page.description
                self.mpp: float | None = _mpp_of(page, 0)
                self.mpp_y: float | None = _mpp_of(page, 1)
                sound = page.samplesperpixel == 1 and page.dtype == np.uint8
            if not sound:
                raise HolohistoError(self.path, "must be a one-channel 8-bit TIFF")
            self._page.check()
        except HolohistoError:
            self.close()
            raise
        except Exception as error:  # tifffile raises many kinds on damaged files
            self.close()
            raise HolohistoError(
                self.path, f"is not a whole TIFF: {error}", advice="delete it and run again"
            ) from error
        self.size = self._page.size

    @property
    def header(self) -> dict[str, Any]:
        """The header given to `write_rows`; empty where the file has none."""
        try:
            header = json.loads(self._description)
        except ValueError:
            return {}
        return header if isinstance(header, dict) else {}

    def read(self, xy: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
        """Return the pixels of a rectangle.

        Args:
            xy: Top-left corner in the raster's own pixels; may lie outside.
            size: Width and height in the raster's own pixels.

        Returns:
            (height, width) uint8; 0 outside.

        Raises:
            HolohistoError: the file is damaged in the rectangle.
        """
        (x, y), (width, height) = xy, size
        result = np.zeros((height, width), np.uint8)
        x0, x1 = max(x, 0), min(x + width, self.size[0])
        y0, y1 = max(y, 0), min(y + height, self.size[1])
        if x0 < x1 and y0 < y1:
            inside = self._page.read(x0, y0, x1 - x0, y1 - y0)[..., 0]
            result[y0 - y : y1 - y, x0 - x : x1 - x] = inside
        return result

    def rows(self, height: int = BAND) -> Iterator[np.ndarray]:
        """Yield bands (height, width) uint8 from top to bottom; the last may be lower.

        Raises:
            HolohistoError: the file is damaged.
        """
        for y in range(0, self.size[1], height):
            yield self.read((0, y), (self.size[0], min(height, self.size[1] - y)))

    def fullest_tiles(self, count: int) -> list[tuple[int, int]]:
        """Return the top-left corners of the first, the last, and the `count` longest tiles.

        The length is that of the encoded tile in bytes.
        """
        counts = np.asarray(self._page.counts)
        chosen = {0, len(counts) - 1, *np.argsort(counts, kind="stable")[-count:].tolist()}
        return self._corners(sorted(chosen))

    def any_tiles(self, count: int) -> list[tuple[int, int]]:
        """Return the top-left corners of `count` random tiles, the same for the same file."""
        tiles = len(self._page.counts)
        draw = np.random.default_rng([*self.size, int(np.sum(self._page.counts))])
        return self._corners(draw.integers(0, tiles, count).tolist())

    def _corners(self, tiles: list[int]) -> list[tuple[int, int]]:
        width, height = self._page.segment
        across = ceil_div(self.size[0], width)
        return [(index % across * width, index // across * height) for index in tiles]

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> "Raster":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _mpp_of(page: Any, axis: int) -> float | None:
    """Micrometres per pixel along an axis from the resolution tags of a page; None without."""
    per_unit = {2: 25_400.0, 3: 10_000.0}.get(int(page.resolutionunit))
    resolution = page.resolution[axis]
    return per_unit / resolution if per_unit and resolution > 0 else None
