"""The four readers of slide files. Each reads rectangles inside the borders of a level."""

import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tifffile

from holohisto.errors import HolohistoError
from holohisto.slide.pages import level_pages
from holohisto.slide.probe import Probe
from holohisto.slide.samples import with_alpha, with_plain_alpha
from holohisto.slide.tiff import Page


class Source(Protocol):
    """Reads rectangles that lie inside a level; threads may share it."""

    levels: list[tuple[int, int]]

    def read(self, level: int, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Return (height, width, 1 to 4 samples) uint8; all arguments in pixels of the level."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


def open_source(path: Path, probe: Probe) -> Source:
    """Open a slide file with the reader that its probe chose.

    Raises:
        HolohistoError: the reader cannot open the file.
    """
    readers = {"cucim": Cucim, "openslide": OpenSlide, "tifffile": Tiff, "libvips": Vips}
    return readers[probe.reader](path, probe)


class Cucim:
    """cuCIM on the CPU: tiled 8-bit RGB TIFF and SVS.

    It turns a damaged tile into noise without an error. Therefore `check` looks at the ends of all
    tiles, and decodes a sample of them, beforehand.
    """

    def __init__(self, path: Path, probe: Probe) -> None:
        """Open the file; levels that cuCIM does not see are omitted."""
        from cucim.clara import CuImage

        try:
            self._image: Any = CuImage(str(path))
        except (RuntimeError, ValueError) as error:
            raise HolohistoError(path, f"cuCIM cannot open the slide: {error}") from error
        seen = [tuple(size) for size in self._image.resolutions["level_dimensions"]]
        self.levels = [size for size in probe.levels if size in seen]
        self._index = [seen.index(size) for size in self.levels]
        self._downsamples = self._image.resolutions["level_downsamples"]
        self._path = path
        if not self.levels or self.levels[0] != probe.levels[0]:
            raise HolohistoError(path, "cuCIM sees other sizes", found=seen, allowed=probe.levels)

    def read(self, level: int, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Return (height, width, 3)."""
        index = self._index[level]
        if index:
            # cuCIM divides level-0 positions and truncates; a pixel's middle stays in the pixel.
            scale = self._downsamples[index]
            x, y = int((x + 0.5) * scale), int((y + 0.5) * scale)
        try:
            region = self._image.read_region((x, y), (width, height), index)
        except (RuntimeError, ValueError) as error:
            raise _unreadable(self._path, x, y, error) from error
        return np.asarray(region)

    def close(self) -> None:
        """Close the file."""
        self._image.close()


class OpenSlide:
    """OpenSlide: vendor formats."""

    def __init__(self, path: Path, probe: Probe) -> None:
        import openslide

        self._error = openslide.OpenSlideError
        self._slide = openslide.OpenSlide(path)
        self.levels = list(probe.levels)
        self._path = path
        width, height = self.levels[0]
        for x, y in ((0, 0), (width // 2, height // 2), (width - 1, height - 1)):
            self.read(0, x, y, 1, 1)

    def read(self, level: int, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Return (height, width, 4); alpha is 0 where the slide was not scanned."""
        scale = self._slide.level_downsamples[level]
        position = round(x * scale), round(y * scale)
        try:
            return np.asarray(self._slide.read_region(position, level, (width, height)))
        except self._error as error:
            raise _unreadable(self._path, x, y, error) from error

    def close(self) -> None:
        """Close the slide."""
        self._slide.close()


class Tiff:
    """tifffile's codecs and `Page`: OME-TIFF, sub-IFDs and unusual compressions."""

    def __init__(self, path: Path, probe: Probe) -> None:
        """Open the file a second time, for positioned reads."""
        self.levels = list(probe.levels)
        self._tiff = tifffile.TiffFile(path, _multifile=False)
        self._handle = os.open(path, os.O_RDONLY)
        self._pages = [Page(path, self._handle, page) for page in level_pages(self._tiff)]

    def read(self, level: int, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Return (height, width, samples); alpha is 0 in tiles that a sparse file omits."""
        page = self._pages[level]
        pixels = page.read(x, y, width, height)
        if page.extra is not None:
            pixels = with_plain_alpha(pixels, page.extra)
        return with_alpha(pixels, page.present(x, y, width, height)) if page.sparse else pixels

    def close(self) -> None:
        """Close the file."""
        self._tiff.close()
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


class Vips:
    """libvips: PNG, JPEG and TIFF in strips, decoded to memory or, if large, to a file."""

    def __init__(self, path: Path, probe: Probe) -> None:
        """Open the file; its pixels are decoded at the first read."""
        import pyvips

        self.levels = list(probe.levels)
        self._vips: Any = pyvips
        self._image: Any = pyvips.Image.new_from_file(
            str(path), access="random", fail_on="warning", revalidate=True
        )
        self._path = path

    def read(self, level: int, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Return (height, width, bands)."""
        try:
            data = self._vips.Region.new(self._image).fetch(x, y, width, height)
        except self._vips.Error as error:
            raise _unreadable(self._path, x, y, error) from error
        return np.frombuffer(data, np.uint8).reshape(height, width, self._image.bands)

    def close(self) -> None:
        """Release the image."""
        self._image = None


def _unreadable(path: Path, x: int, y: int, error: Exception) -> HolohistoError:
    reason = " ".join(str(error).split())
    return HolohistoError(
        path,
        f"pixels at {x},{y} cannot be read: {reason}",
        advice="the file is damaged; copy it again from its source",
    )
