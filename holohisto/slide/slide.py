"""A slide of any format: level-0 positions, any resolution, its own background colour."""

import hashlib
import threading
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np

from holohisto.runtime.arithmetic import ceil_div, round_up
from holohisto.slide.background import Read, background_of, bright_share
from holohisto.slide.integrity import file_bytes
from holohisto.slide.mpp import MppXY, both
from holohisto.slide.probe import Probe, probe
from holohisto.slide.resample import Side, area_means, block_means
from holohisto.slide.samples import has_alpha, to_rgb
from holohisto.slide.scale import Scale
from holohisto.slide.sources import Source, open_source
from holohisto.slide.tiff import whole_downsample

SOURCE_SIDE = 2048
"""Longest side of the region of source pixels that is reduced at a time."""


class Slide:
    """One slide, open for reading; threads may share it.

    Attributes:
        path: The file.
        size: Width and height of level 0.
        mpp: Micrometres per pixel of level 0 along x; None where neither given nor in the file.
        mpp_y: The same along y.
        mpp_source: "sheet" (given), "header" (vendor, OME) or "tags" (resolution); None without.
        header_mpp: Micrometres per pixel along x and y according to the file, or None.
        reader: cucim, openslide, tifffile or libvips.
        compression: Compression of level 0, named as in TIFF or by the vendor.
        levels: Width and height of each level, the full resolution first.
        bounds: The scanned part of level 0; None: all of it.
        warnings: What is unusual about the file, in words.
        doubts: What speaks against the resolution that the file states.
    """

    def __init__(
        self,
        path: Path,
        *,
        mpp: float | MppXY | None = None,
        background: tuple[int, int, int] | None = None,
    ) -> None:
        """Probe the file and open it.

        Args:
            path: The image file.
            mpp: Micrometres per pixel of level 0, which replaces the file's own value; two values,
                along x and y, where pixels are not square.
            background: Colour around the slide; None: estimated from its borders when first needed.

        Raises:
            HolohistoError: missing, damaged, truncated, or no 8-bit RGB or grey picture.
        """
        probed = probe(Path(path))
        self._use(Path(path), probed, open_source(Path(path), probed), mpp, background)

    def _use(
        self,
        path: Path,
        probed: Probe,
        source: Source,
        mpp: float | MppXY | None,
        background: tuple[int, int, int] | None,
    ) -> None:
        """Set all attributes."""
        self.path, self._source = path, source
        self.reader, self.compression = probed.reader, probed.compression
        self.levels = self._source.levels
        self.size = self.levels[0]
        self.header_mpp, self.bounds = probed.mpp, probed.bounds
        self.warnings, self.doubts = probed.warnings, probed.doubts
        self.mpp, self.mpp_y = (probed.mpp if mpp is None else both(mpp)) or (None, None)
        self.mpp_source = "sheet" if mpp is not None else probed.mpp_source
        self._downsamples = [whole_downsample(self.size, level) for level in self.levels]
        self._background = background
        self._lock = threading.Lock()

    @property
    def background(self) -> tuple[int, int, int]:
        """Colour around the slide: as given, else the near-white or near-black of its borders, else
        white.
        """
        with self._lock:
            if self._background is None:
                self._background = self._estimate_background()
            return self._background

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the size, the lengths of the files and samples of their bytes; independent of
        the path.
        """
        digest = hashlib.sha256(repr(self.size).encode())
        for path in file_bytes(self.path):
            length = path.stat().st_size
            digest.update(length.to_bytes(8, "little"))
            chunk = 64 * 1024
            with path.open("rb") as file:
                for sample in range(17):
                    file.seek(max(0, length - chunk) * sample // 16)
                    digest.update(file.read(chunk if sample in (0, 16) else 4096))
        return digest.hexdigest()

    def read(self, xy: tuple[int, int], size: tuple[int, int], factor: int = 1) -> np.ndarray:
        """Return the pixels of a rectangle, reduced by an integer factor.

        The level with the largest downsample that divides `factor` is read, and every block of its
        pixels is replaced by its mean, rounded half up. Pixels outside the slide, also those within
        a block that crosses its right or lower border, have the background colour. Levels that the
        scanner has reduced and compressed are used without correction.

        Args:
            xy: Level-0 position of the top-left corner, a multiple of `factor`; may lie outside.
            size: Width and height of the result, in pixels of the result.
            factor: Level-0 pixels a side of a pixel of the result, 1 or more.

        Returns:
            (height, width, 3) uint8.

        Raises:
            HolohistoError: the file is damaged in the rectangle.
            ValueError: `xy` is no multiple of `factor`, or `factor` or `size` is too small.
        """
        return self._read(xy, size, factor, self.background)

    def resampled(self, xy: tuple[int, int], size: tuple[int, int], scale: Scale) -> np.ndarray:
        """Return the pixels of a rectangle at the resolution of a scale.

        A pixel is the mean of the area that it covers, rounded half up, over the pixels of the
        coarsest level that is not coarser than the result. Sums are exact integers, so a pixel is
        the same in every rectangle. Whole scales are read as by `read`, and as there the area
        beyond the slide's borders has the background colour.

        Args:
            xy: Top-left corner, pixels of that resolution; may lie outside.
            size: Width and height, pixels of that resolution.
            scale: Level-0 pixels per pixel of the result.

        Returns:
            (height, width, 3) uint8.

        Raises:
            HolohistoError: the file is damaged in the rectangle.
        """
        factor, fill = scale.factor, self.background
        if factor is not None:
            return self.read((xy[0] * factor, xy[1] * factor), size, factor)
        level = self.level_for(scale)
        downsample = self._downsamples[level] or 1
        (x, y), (width, height) = xy, size
        result = np.empty((height, width, 3), np.uint8)
        columns, rows = (max(1, int(SOURCE_SIDE * downsample / step)) for step in scale)
        for top, left in product(range(0, height, rows), range(0, width, columns)):
            across = Side(scale.x / downsample, x + left, min(columns, width - left))
            down = Side(scale.y / downsample, y + top, min(rows, height - top))
            corner, lengths = (across.start, down.start), (across.length, down.length)
            pixels = self._padded(level, corner, lengths, fill)
            result[top : top + down.count, left : left + across.count] = area_means(
                pixels, across, down
            )
        return result

    def overview(self, max_side: int) -> tuple[np.ndarray, float]:
        """Return a small picture of the whole slide, in bounded memory.

        Args:
            max_side: Upper bound on both sides of the picture, pixels.

        Returns:
            The picture, (height, width, 3) uint8, and its scale in level-0 pixels per pixel.

        Raises:
            HolohistoError: the file is damaged.
        """
        factor = self.overview_factor(max_side)
        width, height = (ceil_div(side, factor) for side in self.size)
        return self.read((0, 0), (width, height), factor), float(factor)

    def overview_factor(self, max_side: int) -> int:
        """Return the reduction of an overview of at most `max_side` pixels a side.

        It is a multiple of the largest usable downsample of a level, so that little is read.
        """
        need = ceil_div(max(self.size), max_side)
        step = max((d for d in self._downsamples if d and d <= need), default=1)
        return round_up(need, step)

    def level_for(self, scale: Scale) -> int:
        """Return the number of the level that is read at a scale.

        It is the coarsest whose downsample divides a whole factor, and the coarsest that is not
        coarser than the result otherwise; level 0 where the result is finer than that.
        """
        levels, factor = enumerate(self._downsamples), scale.factor
        if factor is not None:
            return max((d, i) for i, d in levels if d and factor % d == 0)[1]
        return max(((d, i) for i, d in levels if d and d <= min(scale)), default=(1, 0))[1]

    def read_level(self, level: int, xy: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
        """Return pixels of one level.

        Args:
            level: Number of the level, 0 for the full resolution.
            xy: Top-left corner in pixels of the level; may lie outside.
            size: Width and height in pixels of the level.

        Returns:
            (height, width, 3) uint8.

        Raises:
            HolohistoError: the file is damaged in the rectangle.
        """
        return self._padded(level, xy, size, self.background)

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    def __enter__(self) -> "Slide":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _read(
        self,
        xy: tuple[int, int],
        size: tuple[int, int],
        factor: int,
        fill: tuple[int, int, int],
    ) -> np.ndarray:
        if factor < 1 or xy[0] % factor or xy[1] % factor or min(size) < 0:
            raise ValueError(f"position {xy} and size {size} do not suit factor {factor}")
        level = self.level_for(Scale.whole(factor))
        downsample = self._downsamples[level] or 1
        block = factor // downsample
        x, y = xy[0] // downsample, xy[1] // downsample
        width, height = size
        if block == 1:
            return self._padded(level, (x, y), size, fill)
        result = np.empty((height, width, 3), np.uint8)
        side = max(1, SOURCE_SIDE // block)
        for top, left in product(range(0, height, side), range(0, width, side)):
            rows, columns = min(side, height - top), min(side, width - left)
            corner = x + left * block, y + top * block
            pixels = self._padded(level, corner, (columns * block, rows * block), fill)
            result[top : top + rows, left : left + columns] = block_means(pixels, block)
        return result

    def _padded(
        self, level: int, xy: tuple[int, int], size: tuple[int, int], fill: tuple[int, int, int]
    ) -> np.ndarray:
        """Read RGB from one level, in its own pixels, with `fill` outside its borders."""
        (x, y), (width, height) = xy, size
        right, bottom = self.levels[level]
        x0, x1 = max(x, 0), min(x + width, right)
        y0, y1 = max(y, 0), min(y + height, bottom)
        if x0 >= x1 or y0 >= y1:
            return np.full((height, width, 3), fill, np.uint8)
        inside = to_rgb(self._source.read(level, x0, y0, x1 - x0, y1 - y0), fill)
        if inside.shape == (height, width, 3):
            return inside
        result = np.full((height, width, 3), fill, np.uint8)
        result[y0 - y : y1 - y, x0 - x : x1 - x] = inside
        return result

    def _estimate_background(self) -> tuple[int, int, int]:
        """The colour of glass or of a blacked-out surround, from scanned pixels at the borders.

        Coarser levels of slides with alpha may be opaque where nothing was scanned.
        """
        return background_of(*self._sampled())

    def bright_share(self) -> float:
        """Return the share of bright pixels, as of glass and lumina, 0 to 1; from samples."""
        return bright_share(*self._sampled())

    def _sampled(self) -> tuple[Read, tuple[int, int]]:
        """The level that is sampled, as a function that reads it, and its size."""
        level = 0 if has_alpha(self._source.read(0, 0, 0, 1, 1)) else len(self.levels) - 1

        def read(x: int, y: int, width: int, height: int) -> np.ndarray:
            return self._source.read(level, x, y, width, height)

        return read, self.levels[level]
