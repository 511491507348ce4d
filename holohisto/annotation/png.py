"""Read a PNG by bands of rows, in bounded memory, checksums included.

Pillow decodes a PNG entirely and skips the checksums of its pixels. Here the rows are unpacked one
band at a time. Each band becomes a small PNG of its own, whose filters Pillow undoes: as grey, grey
and alpha, RGB or RGBA of 8 bits, whichever has as many bytes a pixel, it yields the same bytes.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from holohisto.runtime.arithmetic import ceil_div
from holohisto.slide.orientation import TAG, UPRIGHT
from holohisto.slide.pictures import open_picture

MAGIC = b"\x89PNG\r\n\x1a\n"
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples of a pixel for each colour type."""
PALETTE = 3
COLOUR_OF_BYTES = {1: 0, 2: 4, 3: 2, 4: 6}
"""Colour type whose pixels, of 8 bits a sample, have so many bytes."""
PART_BYTES = 2**21
"""Bytes of rows that are decoded at a time."""
MOST_PIXELS = 2**26
"""Largest number of pixels of a PNG that cannot be read by bands."""


class Png:
    """The rows of a PNG, from the top.

    Attributes:
        size: Width and height.
        channels: Samples of a pixel.
        palette: Colours (256, 3) uint8 of the values, or None.
    """

    def __init__(self, path: Path) -> None:
        """Read everything but the pixels, whose checksums are verified.

        Raises:
            ValueError: it is damaged.
            OSError: it cannot be read.
        """
        self.path = path
        header, self._orientation = b"", 1
        self.palette: np.ndarray | None = None
        for kind, data in _chunks(path):
            if kind == b"IHDR":
                header = data
            elif kind == b"PLTE":
                colours = np.frombuffer(data[: len(data) // 3 * 3], np.uint8).reshape(-1, 3)[:256]
                self.palette = np.zeros((256, 3), np.uint8)
                self.palette[: len(colours)] = colours
            elif kind == b"eXIf":
                exif = Image.Exif()
                exif.load(data)
                self._orientation = int(exif.get(TAG, UPRIGHT))
        if len(header) != 13:
            raise ValueError("its header is missing")
        width, height, self._depth, self._colour, *_, interlaced = struct.unpack(">IIBBBBB", header)
        if self._colour not in SAMPLES or not width or not height:
            raise ValueError("its header makes no sense")
        self.size = (width, height)
        self.channels = SAMPLES[self._colour]
        self.palette = self.palette if self._colour == PALETTE else None
        self._row = 1 + ceil_div(width * self._depth * self.channels, 8)
        self._bytes = max(1, self.channels * self._depth // 8)
        self._whole = bool(interlaced) or self._bytes not in COLOUR_OF_BYTES

    def bands(self, rows: int) -> Iterator[np.ndarray]:
        """Yield (rows, width, samples) uint8 or uint16; the last band may have fewer rows.

        Grey values of 2 and 4 bits are scaled to 8 bits, those of 1 bit are 0 and 1.

        Raises:
            ValueError, OSError: it is damaged.
        """
        if self._whole:
            yield from self._decoded(rows)
            return
        left, ready = self.size[1], [np.zeros((0, self.size[0], self.channels), np.uint8)]
        for part in self._parts(min(rows, max(1, PART_BYTES // self._row))):
            ready.append(part)
            if (count := sum(map(len, ready))) >= min(rows, left):
                joined = np.concatenate(ready[1:] if not len(ready[0]) else ready)
                yield joined[:rows]
                left -= min(rows, count)
                ready = [joined[rows:]]

    def _parts(self, rows: int) -> Iterator[np.ndarray]:
        """Yield (rows, width, samples), few rows at a time: decoding takes many copies of them."""
        last = None
        for packed in self._packed(rows):
            raw = self._unfiltered(packed, last)
            last = raw[-1]
            yield self._samples(raw).reshape(len(raw), self.size[0], self.channels)

    def orientation(self) -> int:
        """Orientation that its EXIF data states, 1 to 8; 1 where it states none."""
        return self._orientation  # Pillow would decode the picture to find it

    def _decoded(self, rows: int) -> Iterator[np.ndarray]:
        if self.size[0] * self.size[1] > MOST_PIXELS:
            raise ValueError("it is large, and interlaced or of 16-bit colours; save it otherwise")
        for _ in _chunks(self.path):  # for their checksums
            pass
        with open_picture(self.path) as picture:
            pixels = np.asarray(picture)
        pixels = pixels.reshape(*pixels.shape[:2], -1)
        for top in range(0, self.size[1], rows):
            yield pixels[top : top + rows]

    def _packed(self, rows: int) -> Iterator[bytes]:
        """Yield filtered rows as they are stored, the given number at a time."""
        left, band = self._row * self.size[1], self._row * rows
        inflate, ready = zlib.decompressobj(), bytearray()
        for kind, packed in _chunks(self.path):
            while kind == b"IDAT" and packed:
                ready += inflate.decompress(packed, band)
                packed = inflate.unconsumed_tail
                while len(ready) >= band and left > band:
                    yield bytes(ready[:band])
                    del ready[:band]
                    left -= band
                if len(ready) > left:
                    raise ValueError("it has more pixels than its header states")
        if len(ready) < left:
            raise ValueError("it ends early")
        yield bytes(ready)

    def _unfiltered(self, packed: bytes, last: np.ndarray | None) -> np.ndarray:
        """Undo the filters of rows, (rows, bytes of a row) uint8.

        Args:
            packed: Rows as they are stored, each with its filter before it.
            last: The unfiltered row above them.
        """
        row = self._row
        above = b"" if last is None else b"\0" + last.tobytes()
        count = (len(packed) + len(above)) // row
        width = (row - 1) // self._bytes
        header = struct.pack(">IIBBBBB", width, count, 8, COLOUR_OF_BYTES[self._bytes], 0, 0, 0)
        data = zlib.compress(above + packed, 0)
        file = MAGIC + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")
        with Image.open(io.BytesIO(file), formats=("PNG",)) as picture:
            raw = np.asarray(picture).reshape(count, row - 1)
        return raw[1:] if above else raw

    def _samples(self, raw: np.ndarray) -> np.ndarray:
        """Samples of the bytes of rows, (rows, samples of a row)."""
        if self._depth == 16:
            return raw.view(">u2").astype(np.uint16)
        if self._depth == 8:
            return raw
        bits = np.unpackbits(raw, axis=1)
        values = bits.reshape(len(raw), -1, self._depth) @ (1 << np.arange(self._depth)[::-1])
        scaled = self._depth > 1 and self._colour != PALETTE
        values = values * (255 // (2**self._depth - 1)) if scaled else values
        return values[:, : self.size[0]].astype(np.uint8)


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def _chunks(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and data of the chunks whose checksums are right."""
    length_of_file = path.stat().st_size
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise ValueError("it is no PNG")
        kind = b""
        while kind != b"IEND":
            length, kind = struct.unpack(">I4s", _exactly(file, 8))
            if length > length_of_file:
                raise ValueError("it ends early")
            data = _exactly(file, length)
            if zlib.crc32(kind + data) != struct.unpack(">I", _exactly(file, 4))[0]:
                raise ValueError("a checksum is wrong")
            yield kind, data


def _exactly(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise ValueError("it ends early")
    return data
