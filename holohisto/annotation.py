"""Expert annotations: pictures of classes, read like the slide they belong to."""

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from holohisto.config import ClassOptions
from holohisto.errors import HolohistoError
from holohisto.slide.probe import TIFF_MAGIC, picture_size, pillow
from holohisto.slide.tiff import Page

SOURCE_PIXELS = 2**22
"""About how many pixels of the picture are held at once while reading."""
BAND = 512
SNIFFED_TILES = 16
WHOLE_STRIP = 1024
"""Height of strips from which a TIFF is unpacked whole, once, instead of strip by strip."""
MINISWHITE = 0


class Annotation:
    """The classes drawn on one slide; threads may share it.

    A TIFF is read tile by tile; any other picture is unpacked whole at the first read.
    """

    def __init__(
        self,
        path: Path,
        classes: dict[str, ClassOptions],
        slide_size: tuple[int, int],
        factor: int,
    ) -> None:
        """Open the picture.

        Args:
            path: TIFF or PNG: grey, RGB or with a palette.
            classes: The classes in the order of their bits; `values` are grey values (palette
                places, or the largest channel of RGB) or #rrggbb colours.
            slide_size: Width and height of the slide's level 0.
            factor: Level-0 pixels a side of a working pixel.

        Raises:
            HolohistoError: unreadable, or neither of level-0 nor of working size.
        """
        self.path = Path(path)
        self.size = picture_size(self.path)
        self.factor = factor
        working = (-(-slide_size[0] // factor), -(-slide_size[1] // factor))
        if self.size not in (slide_size, working):
            raise HolohistoError(
                self.path, "the annotation has not the slide's size",
                found="{}x{}".format(*self.size),
                allowed="{}x{} (level 0) or {}x{} (working)".format(*slide_size, *working),
            )  # fmt: skip
        self._block = factor if self.size == slide_size else 1
        self._lock = threading.Lock()
        with self.path.open("rb") as file:
            tiled = file.read(4) in TIFF_MAGIC
        picture = _TiffPicture(self.path) if tiled else _FlatPicture(self.path)
        self._picture: _TiffPicture | _FlatPicture = picture
        self._classes = classes
        self._rule: _Rule | None = None

    def read(self, xy: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
        """Return (height, width) uint8 at working resolution, bit i set where class i is.

        A working pixel has a class when at least half of its block of level-0 pixels has it;
        outside the slide nothing has.

        Args:
            xy: Level-0 position, a multiple of the factor; may lie outside.
            size: Width and height of the result, working pixels.
        """
        if xy[0] % self.factor or xy[1] % self.factor:
            raise ValueError(f"position {xy} is no multiple of {self.factor}")
        scale = self.factor // self._block
        x, y = xy[0] // scale, xy[1] // scale
        width, height = size
        block = self._block
        result = np.empty((height, width), np.uint8)
        rows = max(1, SOURCE_PIXELS // max(1, width * block * block))
        for top in range(0, height, rows):
            count = min(rows, height - top)
            bits = self._bits(x, y + top * block, width * block, count * block)
            result[top : top + count] = _majority(bits, block, len(self._classes))
        return result

    def is_empty(self) -> bool:
        """Tell whether no pixel has any class; stops at the first that has."""
        width, height = self.size
        bands = (self._bits(0, y, width, BAND) for y in range(0, height, BAND))
        return not any(band.any() for band in bands)

    def close(self) -> None:
        """Close the file."""
        self._picture.close()

    def __enter__(self) -> "Annotation":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _bits(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Bits in the annotation's own pixels, 0 outside."""
        result = np.zeros((height, width), np.uint8)
        x0, x1 = max(x, 0), min(x + width, self.size[0])
        y0, y1 = max(y, 0), min(y + height, self.size[1])
        if x0 < x1 and y0 < y1:
            with self._lock:
                rule = self._rule = self._rule or _Rule(self._classes, self._picture)
            pixels = self._picture.read(x0, y0, x1 - x0, y1 - y0)
            result[y0 - y : y1 - y, x0 - x : x1 - x] = rule.bits(pixels)
        return result


class _Rule:
    """Which values mean which class."""

    def __init__(
        self, classes: dict[str, ClassOptions], picture: "_TiffPicture | _FlatPicture"
    ) -> None:
        self._palette = picture.palette
        self._table = np.zeros(65536, np.uint8)
        self._colours: list[tuple[int, int]] = []
        for bit, (place, options) in enumerate(enumerate(classes.values(), start=1)):
            values = options.values
            if not values and len(classes) == 1:
                # Masks are 0/255 or 0/1; a 1 beside 255 is noise of a lossy or resized mask.
                self._table[128:] |= 1
                self._table[1] |= int(picture.largest() <= 1)
                continue
            for value in values or (place,):
                if isinstance(value, int):
                    self._table[value] |= 1 << bit
                else:
                    self._colours.append((int(value[1:], 16), 1 << bit))

    def bits(self, pixels: np.ndarray) -> np.ndarray:
        """Translate (height, width, samples) into (height, width) uint8."""
        values = _colours(pixels).max(axis=2)
        result = self._table[values.astype(np.uint16, copy=False)]
        if self._colours:
            colours = self._coded(pixels)
            for code, bit in self._colours:
                result[colours == code] |= bit
        return result

    def _coded(self, pixels: np.ndarray) -> np.ndarray:
        """Colours as 0xrrggbb (height, width) uint32."""
        if self._palette is not None:
            pixels = self._palette[pixels[..., 0]]
        elif pixels.shape[2] < 3:
            pixels = np.repeat(pixels[..., :1], 3, axis=2)
        rgb = pixels.astype(np.uint32)
        return rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]


class _TiffPicture:
    """A TIFF, read tile by tile."""

    palette: np.ndarray | None = None

    def __init__(self, path: Path) -> None:
        self._whole: np.ndarray | None = None
        self._lock = threading.Lock()
        self._handle = os.open(path, os.O_RDONLY)
        try:
            with tifffile.TiffFile(path) as tiff:
                page: Any = tiff.pages.first
                self._page = Page(path, self._handle, page)
                if page.colormap is not None:
                    self.palette = (np.asarray(page.colormap).T >> 8).astype(np.uint8)
                kind = page.dtype
                self._high_strips = not page.is_tiled and self._page.segment[1] > WHOLE_STRIP
                white = page.photometric == MINISWHITE
            if white or kind not in (np.uint8, np.uint16, np.bool_):
                raise HolohistoError(
                    path, "annotation has an unsuited pixel type",
                    found="0 is white" if white else kind,
                    allowed="1, 8 or 16 bits without sign, 0 is black",
                )  # fmt: skip
            self._page.check()
        except HolohistoError:
            self.close()
            raise
        except Exception as error:  # tifffile raises many kinds on damaged files
            self.close()
            raise HolohistoError(path, f"annotation is damaged: {error}") from error

    def read(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        if not self._high_strips:
            return self._page.read(x, y, width, height)
        with self._lock:
            if self._whole is None:
                self._whole = self._page.read(0, 0, *self._page.size)
        return self._whole[y : y + height, x : x + width]

    def largest(self) -> int:
        """Largest value among the fullest tiles."""
        largest = 0
        for index in np.argsort(np.asarray(self._page.counts), kind="stable")[-SNIFFED_TILES:]:
            pixels = self._page.segment_pixels(int(index))
            largest = max(largest, 0 if pixels is None else int(_colours(pixels).max()))
        return largest

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


class _FlatPicture:
    """A PNG or other flat picture, unpacked whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pixels: np.ndarray | None = None
        self._palette: np.ndarray | None = None
        self._lock = threading.Lock()

    @property
    def palette(self) -> np.ndarray | None:
        """Colours (256, 3) uint8 of the values, or None."""
        self._load()
        return self._palette

    def read(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        return self._load()[y : y + height, x : x + width]

    def largest(self) -> int:
        return int(_colours(self._load()).max())

    def close(self) -> None:
        self._pixels = None

    def _load(self) -> np.ndarray:
        with self._lock:
            if self._pixels is None:
                try:
                    with pillow().open(self._path) as picture:
                        pixels, self._palette = _unpack(self._path, picture)
                except (OSError, SyntaxError, ValueError) as error:
                    raise HolohistoError(self._path, f"annotation is damaged: {error}") from error
                self._pixels = pixels
            return self._pixels


def _colours(pixels: np.ndarray) -> np.ndarray:
    """Pixels (height, width, samples) without an alpha channel."""
    return pixels[..., : 1 if pixels.shape[2] < 3 else 3]


def _unpack(path: Path, picture: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Pixels (height, width, samples) of a Pillow image, and its palette."""
    if picture.mode not in ("1", "L", "P", "I;16", "LA", "RGB", "RGBA"):
        raise HolohistoError(
            path, "annotation has an unsuited pixel type", found=picture.mode,
            allowed="grey, RGB or palette",
        )  # fmt: skip
    palette = None
    if picture.mode == "P":
        colours = np.frombuffer(bytes(picture.getpalette("RGB")), np.uint8).reshape(-1, 3)
        palette = np.zeros((256, 3), np.uint8)
        palette[: len(colours)] = colours
    pixels = np.asarray(picture)
    return pixels if pixels.ndim == 3 else pixels[..., None], palette


def _majority(bits: np.ndarray, block: int, classes: int) -> np.ndarray:
    """Bits of (height * block, width * block) by area, at least half, as (height, width)."""
    if block == 1:
        return bits
    height, width = bits.shape[0] // block, bits.shape[1] // block
    result = np.zeros((height, width), np.uint8)
    for bit in range(classes):
        rows = np.zeros((height, bits.shape[1]), np.uint16)
        for i in range(block):
            rows += (bits[i::block] >> bit) & 1
        areas = np.zeros((height, width), np.uint32)
        for j in range(block):
            areas += rows[:, j::block]
        result |= (2 * areas >= block * block).astype(np.uint8) << bit
    return result
