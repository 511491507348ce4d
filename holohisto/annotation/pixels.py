"""Read the pixels of masks: TIFF tile by tile, PNG and JPEG once, into tiles in memory."""

import math
import os
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from holohisto.annotation.png import Png
from holohisto.annotation.survey import LARGEST
from holohisto.annotation.tiles import SIDE, KeptTiles, chosen_evenly
from holohisto.errors import HolohistoError
from holohisto.runtime.arithmetic import ceil_div
from holohisto.slide.integrity import COPY_AGAIN
from holohisto.slide.orientation import TAG, UPRIGHT, require_upright
from holohisto.slide.pictures import open_picture
from holohisto.slide.tiff import Page

SPREAD, MOST = 48, 16
"""Numbers of tiles in which values are looked up: evenly spread ones, and those of most bytes."""
WHOLE_STRIP = 1024
"""Largest height of strips that are decoded one by one. A TIFF with higher strips is decoded once
and kept in memory."""
LARGEST_SEGMENT = 2**30
"""Largest number of bytes of a decoded tile or strip."""
MINISWHITE, CMYK = 0, 5
JPEG_MAGIC = b"\xff\xd8\xff"
LOSSY = (6, 7, 33003, 33005, 34712)
"""TIFF compressions that alter values: JPEG and JPEG 2000."""
DAMAGED = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)
"""Errors of decoders on damaged files."""


class TiffPixels:
    """The first picture of a TIFF, read tile by tile."""

    palette: np.ndarray | None = None

    def __init__(self, path: Path) -> None:
        """Open a file.

        Raises:
            HolohistoError: damaged, of an unsuited pixel type, or with several pictures.
        """
        self._whole: np.ndarray | None = None
        self._lock = threading.Lock()
        self._path, self._handle = path, os.open(path, os.O_RDONLY)
        try:
            with tifffile.TiffFile(path, _multifile=False) as tiff:
                self._describe(path, tiff)
            self._page.check()
        except HolohistoError:
            self.close()
            raise
        except Exception as error:  # tifffile raises many kinds on damaged files
            self.close()
            raise HolohistoError(path, f"annotation is damaged: {error}") from error

    def _describe(self, path: Path, tiff: tifffile.TiffFile) -> None:
        page: Any = tiff.pages.first
        _require_one_picture(path, tiff)
        require_upright(path, page.tags.valueof(TAG, UPRIGHT))
        if page.dtype is None or page.dtype.kind not in "buif" or page.photometric == CMYK:
            raise HolohistoError(
                path,
                "annotation has an unsuited pixel type",
                found="CMYK" if page.photometric == CMYK else page.dtype,
                allowed="grey, RGB or palette",
            )
        self._page = Page(path, self._handle, page)
        self.size, self.channels = self._page.size, self._page.samples
        self.lossy = int(page.compression) in LOSSY
        if page.colormap is not None:
            palette = (np.asarray(page.colormap).T >> 8).astype(np.uint8)
            self.palette = np.zeros((LARGEST + 1, 3), np.uint8)
            self.palette[: len(palette)] = palette
        self._white = 2**page.bitspersample - 1 if page.photometric == MINISWHITE else None
        self._high_strips = not page.is_tiled and self._page.segment[1] > WHOLE_STRIP
        w, h = self._page.segment
        if w * h * self.channels * page.dtype.itemsize > LARGEST_SEGMENT:
            raise HolohistoError(
                path,
                "annotation has a tile or strip that is too large",
                found=f"{w}x{h}",
                advice="save it in tiles of 512x512",
            )

    def read(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Return (height, width, samples) of a rectangle that lies inside the picture."""
        if not self._high_strips:
            return self._read(x, y, width, height)
        with self._lock:
            if self._whole is None:
                self._whole = self._read(0, 0, *self.size)
        return self._whole[y : y + height, x : x + width]

    @property
    def kept_bytes(self) -> int:
        """Bytes of decoded pixels in memory."""
        return 0 if self._whole is None else self._whole.nbytes

    def samples(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return evenly spread parts of the picture, and those of the most bytes."""
        total = math.prod(self._grid())
        chosen = chosen_evenly(total, SPREAD)
        order = np.argsort(np.asarray(self._page.counts[:total]), kind="stable")
        others = [number for number in order[-MOST:].tolist() if number not in set(chosen)]
        return list(map(self._part, chosen)), list(map(self._part, others))

    def _read(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        omitted = self._white or 0  # background
        return self._whole_numbers(self._page.read(x, y, width, height, omitted))

    def _grid(self) -> tuple[int, int]:
        """Numbers of tiles or strips across and down."""
        w, h = self._page.segment
        return ceil_div(self.size[0], w), ceil_div(self.size[1], h)

    def _part(self, number: int) -> np.ndarray:
        """The pixels of a tile or strip that lie inside the picture."""
        (w, h), across = self._page.segment, self._grid()[0]
        x, y = number % across * w, number // across * h
        return self.read(x, y, min(w, self.size[0] - x), min(h, self.size[1] - y))

    def _whole_numbers(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels as integers from 0 to 65536; RGB of 16 bits as 8 bits.

        Raises:
            HolohistoError: a value is negative or no whole number.
        """
        if pixels.dtype == np.bool_:
            pixels = pixels.view(np.uint8)
        if pixels.dtype.kind in "if":
            low, whole = pixels.min(initial=0), pixels.dtype.kind == "i" or _are_whole(pixels)
            if low < 0 or not whole:
                raise HolohistoError(
                    self._path,
                    "annotation has values that are negative or no whole numbers",
                    advice="save a mask, with a whole number for each class",
                )
        if pixels.dtype not in (np.uint8, np.uint16):
            pixels = pixels.clip(0, min(LARGEST, _largest_of(pixels.dtype))).astype(np.int32)
        if self._white is not None:
            pixels = np.maximum(self._white - pixels.astype(np.int32), 0)
        return pixels >> 8 if pixels.dtype == np.uint16 and self.channels >= 3 else pixels

    def close(self) -> None:
        """Close the file."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


class FlatPixels:
    """A PNG or JPEG, decoded once at the first read."""

    def __init__(self, path: Path) -> None:
        """Open a file.

        Raises:
            HolohistoError: damaged, of another format, or turned.
        """
        self._path = path
        self._lock = threading.Lock()
        self._tiles: KeptTiles | None = None
        with path.open("rb") as file:
            self.lossy = file.read(len(JPEG_MAGIC)) == JPEG_MAGIC
        try:
            self._picture = _Jpeg(path) if self.lossy else Png(path)
            orientation = self._picture.orientation()
        except DAMAGED as error:
            raise damaged(path, error) from error
        require_upright(path, orientation)
        self.size, self.channels = self._picture.size, self._picture.channels
        self.palette = self._picture.palette

    def read(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Return (height, width, samples) of a rectangle that lies inside the picture."""
        return self._load().read(x, y, width, height)

    @property
    def kept_bytes(self) -> int:
        """Bytes of decoded pixels in memory."""
        tiles = self._tiles
        return 0 if tiles is None else tiles.kept_bytes

    def samples(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return evenly spread parts of the picture, and those that are not constant."""
        return self._load().samples(SPREAD, MOST)

    def close(self) -> None:
        """Forget the pixels."""
        self._tiles = None

    def _load(self) -> KeptTiles:
        with self._lock:
            if self._tiles is None:
                try:
                    self._tiles = KeptTiles(self._picture.bands(SIDE), self.size)
                except DAMAGED as error:
                    raise damaged(self._path, error) from error
            return self._tiles


class _Jpeg:
    """The rows of a JPEG, decoded by libvips band by band."""

    palette: np.ndarray | None = None

    def __init__(self, path: Path) -> None:
        self._path = path
        with open_picture(path) as picture:
            self.size = picture.size
            self.channels = len(picture.getbands())
            self._orientation = int(picture.getexif().get(TAG, UPRIGHT))
        if self.channels not in (1, 3):
            raise ValueError("it is CMYK; save it as grey or RGB")

    def orientation(self) -> int:
        return self._orientation

    def bands(self, rows: int) -> Iterator[np.ndarray]:
        import pyvips

        width, height = self.size
        try:
            image: Any = pyvips.Image.jpegload(
                str(self._path), access="sequential", fail_on="warning"
            )
            for top in range(0, height, rows):
                band = image.crop(0, top, width, min(rows, height - top)).numpy()
                yield band.reshape(*band.shape[:2], -1)
        except pyvips.Error as error:
            raise ValueError(str(error).strip().splitlines()[-1]) from error


def damaged(path: Path, error: Exception) -> HolohistoError:
    """Return the error of a picture that cannot be decoded."""
    text = str(error).strip() or type(error).__name__
    return HolohistoError(path, f"annotation is damaged: {text}", advice=COPY_AGAIN)


def _largest_of(kind: np.dtype) -> int:
    return LARGEST if kind.kind == "f" else int(np.iinfo(kind).max)


def _are_whole(pixels: np.ndarray) -> bool:
    return bool(np.isfinite(pixels).all() and (pixels == np.floor(pixels)).all())


def _require_one_picture(path: Path, tiff: tifffile.TiffFile) -> None:
    """Raise if a TIFF has further pictures as large as the first, such as a page per class."""
    series: Any = tiff.series[0]
    first: Any = tiff.pages.first
    pixels = first.imagewidth * first.imagelength * first.samplesperpixel
    count = int(np.prod(series.levels[0].shape)) // max(1, pixels)
    others: list[Any] = [one.levels[0].pages[0] for one in tiff.series[1:]]
    frames = [page.keyframe for page in others if page is not None]
    same = [
        f for f in frames if (f.imagewidth, f.imagelength) == (first.imagewidth, first.imagelength)
    ]
    if count + len(same) > 1:
        raise HolohistoError(
            path,
            "annotation has several pictures of the slide's size",
            found=count + len(same),
            allowed="one, with a value for each class",
        )
