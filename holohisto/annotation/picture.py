"""Annotations as pictures, whose values or colours stand for classes."""

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from holohisto.config.sections import ClassOptions
from holohisto.errors import HolohistoError
from holohisto.slide.pictures import open_picture, picture_size
from holohisto.slide.probe import TIFF_MAGIC
from holohisto.slide.tiff import Page

SNIFFED_TILES = 16
"""Number of tiles, of the most bytes, in which the largest value is looked up."""
WHOLE_STRIP = 1024
"""Largest height of strips that are decoded one by one. A TIFF with higher strips is decoded once
and kept in memory."""
MINISWHITE = 0
JPEG_MAGIC = b"\xff\xd8\xff"
LOSSY = (6, 7, 33003, 33005, 34712)
"""TIFF compressions that alter values: JPEG and JPEG 2000."""


class RasterAnnotation:
    """An annotation as a picture; threads may share it.

    A TIFF is read tile by tile; any other picture is decoded entirely at the first read.
    """

    def __init__(
        self, path: Path, classes: dict[str, ClassOptions], annotated: tuple[str, ...]
    ) -> None:
        """Open the file.

        Args:
            path: TIFF, PNG or JPEG: grey, RGB or with a palette.
            classes: The classes in the order of their bits, with their values or colours.
            annotated: Names of the classes to read.

        Raises:
            HolohistoError: missing, damaged, or of another pixel type.
        """
        self.size = picture_size(path)
        with path.open("rb") as file:
            tiled = file.read(4) in TIFF_MAGIC
        self._pixels = _TiffPixels(path) if tiled else _FlatPixels(path)
        self._classes, self._annotated = classes, annotated
        self._lock = threading.Lock()
        self._rule: _Rule | None = None

    def bits(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Return the classes of a rectangle that lies inside the picture.

        Args:
            x: Left edge, pixels of the picture.
            y: Top edge, pixels of the picture.
            width: Width, pixels of the picture.
            height: Height, pixels of the picture.

        Returns:
            (height, width) uint8, bit i set where class i is.

        Raises:
            HolohistoError: the file is damaged.
        """
        with self._lock:
            self._rule = self._rule or _Rule(self._classes, self._annotated, self._pixels)
        return self._rule.bits(self._pixels.read(x, y, width, height))

    def close(self) -> None:
        """Close the file."""
        self._pixels.close()


class _Rule:
    """Translates values or colours into the bits of classes."""

    def __init__(
        self,
        classes: dict[str, ClassOptions],
        annotated: tuple[str, ...],
        picture: "_TiffPixels | _FlatPixels",
    ) -> None:
        self._palette = picture.palette
        self._table = np.zeros(65536, np.uint8)
        self._colours: list[tuple[int, int]] = []
        for bit, (name, options) in enumerate(classes.items()):
            values, default = options.values, bit + 1
            if name not in annotated:
                continue
            if not values and len(annotated) == 1:
                # Masks have 0 and 255, or 0 and 1. In a mask of 0 and 255, a 1 is noise of lossy
                # compression or resizing.
                self._table[128:] |= 1 << bit
                if not picture.lossy and picture.largest() <= 1:
                    self._table[1] |= 1 << bit
                continue
            for value in values or (default,):
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
        """Colours of (height, width, samples) as 0xrrggbb, (height, width) uint32."""
        if self._palette is not None:
            pixels = self._palette[pixels[..., 0]]
        elif pixels.shape[2] < 3:
            pixels = np.repeat(pixels[..., :1], 3, axis=2)
        rgb = pixels.astype(np.uint32)
        return rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]


class _TiffPixels:
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
                self.lossy = int(page.compression) in LOSSY
                if page.colormap is not None:
                    self.palette = (np.asarray(page.colormap).T >> 8).astype(np.uint8)
                kind = page.dtype
                self._high_strips = not page.is_tiled and self._page.segment[1] > WHOLE_STRIP
                white = page.photometric == MINISWHITE
            if white or kind not in (np.uint8, np.uint16, np.bool_):
                raise HolohistoError(
                    path,
                    "annotation has an unsuited pixel type",
                    found="0 is white" if white else kind,
                    allowed="1, 8 or 16 bits without sign, 0 is black",
                )
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
        """Largest value in the tiles that take the most bytes."""
        largest = 0
        for index in np.argsort(np.asarray(self._page.counts), kind="stable")[-SNIFFED_TILES:]:
            pixels = self._page.segment_pixels(int(index))
            largest = max(largest, 0 if pixels is None else int(_colours(pixels).max()))
        return largest

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


class _FlatPixels:
    """A PNG or JPEG, decoded entirely."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            self.lossy = file.read(len(JPEG_MAGIC)) == JPEG_MAGIC
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
                    with open_picture(self._path) as picture:
                        pixels, self._palette = _unpack(self._path, picture)
                except (OSError, SyntaxError, ValueError) as error:
                    raise HolohistoError(self._path, f"annotation is damaged: {error}") from error
                self._pixels = pixels
            return self._pixels


def _colours(pixels: np.ndarray) -> np.ndarray:
    """Pixels (height, width, samples) without an alpha channel."""
    return pixels[..., : 1 if pixels.shape[2] < 3 else 3]


def _unpack(path: Path, picture: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Pixels (height, width, samples) of a Pillow image, and its palette (256, 3) uint8 or None."""
    if picture.mode not in ("1", "L", "P", "I;16", "LA", "RGB", "RGBA"):
        raise HolohistoError(
            path,
            "annotation has an unsuited pixel type",
            found=picture.mode,
            allowed="grey, RGB or palette",
        )
    palette = None
    if picture.mode == "P":
        colours = np.frombuffer(bytes(picture.getpalette("RGB")), np.uint8).reshape(-1, 3)
        palette = np.zeros((256, 3), np.uint8)
        palette[: len(colours)] = colours
    pixels = np.asarray(picture)
    return pixels if pixels.ndim == 3 else pixels[..., None], palette
