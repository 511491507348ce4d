"""Read rectangles of a TIFF page, segment by segment (a tile or a strip)."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from holohisto.errors import HolohistoError
from holohisto.runtime.arithmetic import ceil_div
from holohisto.slide import jpeg
from holohisto.slide.claims import encoded_size
from holohisto.slide.integrity import COPY_AGAIN, cut_short

JPEG = 7
JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
JPEG_PADDING = 4
"""Largest number of bytes after the end mark of a JPEG: some writers round lengths up."""
NEVER_ZERO_AT_END = (5, 8, 32946, 33003, 33005, 34712)
"""Compressions whose data never ends in many zero bytes, unlike a gap in a copied file: LZW,
deflate and JPEG 2000."""
NEVER_ZEROS = (5, 33003, 33005, 34712)
"""Compressions whose data never holds GAP: LZW and JPEG 2000."""
GAP = bytes(64)
LARGEST_VERIFIED = 2**26
UNCOMPRESSED = 1
ROUNDED = 64
"""Pixels by which an encoded segment may be larger than its tile."""
ZEROS = 16
"""Number of final bytes that are not all zero in those compressions."""


def whole_downsample(size: tuple[int, int], level: tuple[int, int]) -> int | None:
    """Return the integer by which a level reduces the slide, its sides rounded down or up.

    Args:
        size: Width and height of the slide.
        level: Width and height of the level.

    Returns:
        The downsample, 1 or more; None where no integer fits both sides.
    """
    downsample = max(1, round(size[0] / level[0]))
    gaps = (abs(side * downsample - full) for full, side in zip(size, level, strict=True))
    return downsample if all(gap < downsample for gap in gaps) else None


def extra_sample(page: Any) -> int | None:
    """Return the meaning of the last of 2 or 4 samples of tifffile's page; None for 1 or 3."""
    if page.keyframe.samplesperpixel not in (2, 4):
        return None
    meanings = tuple(page.keyframe.extrasamples or ())
    return int(meanings[-1]) if meanings else 0


def is_sparse(page: Any) -> bool:
    """Whether a page of tifffile omits tiles or strips: no bytes are stored for them."""
    return not (all(page.dataoffsets) and all(page.databytecounts))


class Page:
    """One image of a TIFF file, read by rectangles.

    Only the segments that a rectangle touches are read and decoded, by tifffile's codecs. Reads are
    positioned, so threads may share a page. Segments are tiles or strips, samples interleaved or in
    planes of their own.
    """

    def __init__(self, path: Path, handle: int, page: Any) -> None:
        """Wrap a page of tifffile.

        Args:
            path: The file, for error messages.
            handle: Descriptor of the file, open for reading; it stays the caller's to close.
            page: tifffile's page.
        """
        frame = page.keyframe
        self.path = path
        self.size: tuple[int, int] = (frame.imagewidth, frame.imagelength)
        self.samples: int = frame.samplesperpixel
        self.extra: int | None = extra_sample(page)
        """Meaning of the extra sample, None without one."""
        self.segment: tuple[int, int] = (
            (frame.tilewidth, frame.tilelength)
            if frame.is_tiled
            else (frame.imagewidth, min(frame.rowsperstrip, frame.imagelength))
        )
        self.offsets: tuple[int, ...] = page.dataoffsets
        self.counts: tuple[int, ...] = page.databytecounts
        self._handle = handle
        self._compression = int(frame.compression)
        self._decode = frame.decode
        self._tables = {} if frame.jpegtables is None else {"jpegtables": frame.jpegtables}
        self._planes = frame.samplesperpixel if frame.planarconfig == 2 else 1
        self._dtype = frame.dtype
        # Encoders round the last strip up to whole blocks.
        self._encoded = self.segment[0] + ROUNDED, self.segment[1] + ROUNDED
        self._across = ceil_div(self.size[0], self.segment[0])
        self._down = ceil_div(self.size[1], self.segment[1])
        self.segments = self._across * self._down * self._planes
        self.sparse = is_sparse(page)

    def check(self, samples: int = 3, ends: int = 64) -> None:
        """Check that the file is neither truncated nor damaged, by samples of its segments.

        Decoders turn a truncated tile into noise without an error. Therefore the first and last
        bytes of tiles are checked: two short reads per tile, far cheaper than decoding it.

        Args:
            samples: Number of segments decoded, evenly spread, the first and last included.
            ends: Number of segments whose first and last bytes are checked, evenly spread.

        Raises:
            HolohistoError: bytes are missing, or a segment is incomplete or cannot be decoded.
        """
        expected = self.segments
        if min(len(self.offsets), len(self.counts)) < expected:
            raise HolohistoError(
                self.path,
                "the TIFF lists too few tiles",
                found=min(len(self.offsets), len(self.counts)),
                allowed=expected,
            )
        ends_at = np.asarray(self.offsets, np.int64) + np.asarray(self.counts, np.int64)
        length = os.fstat(self._handle).st_size
        if int(ends_at.max()) > length:
            raise cut_short(self.path, length, int(ends_at.max()))
        for index in _spread(expected, ends):
            if not self._complete(index):
                raise self._damaged(
                    index, "is incomplete: its first or last bytes are missing or zeros"
                )
        for index in _spread(expected, samples):
            self.segment_pixels(index)
            self.verify(index)

    def verify(self, index: int) -> None:
        """Check that a segment is whole, more strictly than reading it does.

        Uncompressed segments cannot be checked, and those of over LARGEST_VERIFIED pixels are left
        out.

        Raises:
            HolohistoError: it cannot be decoded, or its decoder complains.
        """
        if self._omitted(index) or self._compression == UNCOMPRESSED:
            return
        if self.segment[0] * self.segment[1] > LARGEST_VERIFIED:
            return
        data = os.pread(self._handle, self.counts[index], self.offsets[index])
        if self._compression in NEVER_ZEROS and GAP in data:
            raise self._damaged(index, "is damaged: it holds a gap of zeros")
        if self._compression != JPEG:
            self.segment_pixels(index)
        elif problem := jpeg.damage(data, self._tables.get("jpegtables")):
            raise self._damaged(index, f"is damaged: {problem}")

    def read(self, x: int, y: int, width: int, height: int, fill: int = 0) -> np.ndarray:
        """Return the pixels of a rectangle that lies inside the page.

        Args:
            x: Left edge, pixels of the page.
            y: Top edge, pixels of the page.
            width: Width in pixels.
            height: Height in pixels.
            fill: Value of the segments that a sparse file omits.

        Returns:
            (height, width, samples) of the page's type.

        Raises:
            HolohistoError: a segment cannot be read or decoded.
        """
        result = np.full((height, width, self.samples), fill, self._dtype)
        for index, left, top in self._touched(x, y, width, height):
            pixels = self.segment_pixels(index)
            if pixels is None:
                continue
            x0, x1 = max(x, left), min(x + width, left + pixels.shape[1])
            y0, y1 = max(y, top), min(y + height, top + pixels.shape[0])
            plane = index // (self._across * self._down)
            samples = slice(plane, plane + 1) if self._planes > 1 else slice(None)
            touched = pixels[y0 - top : y1 - top, x0 - left : x1 - left]
            result[y0 - y : y1 - y, x0 - x : x1 - x, samples] = touched
        return result

    def present(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Return which pixels of a rectangle lie in segments that the file holds.

        Args:
            x: Left edge, pixels of the page.
            y: Top edge, pixels of the page.
            width: Width in pixels.
            height: Height in pixels.

        Returns:
            (height, width) bool; False where a sparse file omits the segment.
        """
        result = np.ones((height, width), bool)
        for index, left, top in self._touched(x, y, width, height):
            if self._omitted(index):
                w, h = self.segment
                columns = slice(max(left - x, 0), max(left + w - x, 0))
                result[max(top - y, 0) : max(top + h - y, 0), columns] = False
        return result

    def _omitted(self, index: int) -> bool:
        return self.counts[index] == 0 or self.offsets[index] == 0

    def _touched(self, x: int, y: int, width: int, height: int) -> Iterator[tuple[int, int, int]]:
        """Yield (segment index, left, top) of the segments that a rectangle touches."""
        w, h = self.segment
        for plane in range(self._planes):
            for row in range(y // h, (y + height - 1) // h + 1):
                for column in range(x // w, (x + width - 1) // w + 1):
                    index = (plane * self._down + row) * self._across + column
                    yield index, column * w, row * h

    def segment_pixels(self, index: int) -> np.ndarray | None:
        """Decode one segment.

        Args:
            index: Number of the segment, row by row, plane by plane.

        Returns:
            (height, width, samples of the plane), cropped to the page; None where a sparse file
            omits it.

        Raises:
            HolohistoError: it cannot be decoded.
        """
        if self._omitted(index):
            return None
        data = os.pread(self._handle, self.counts[index], self.offsets[index])
        claimed = encoded_size(data, self._compression)
        if claimed and (claimed[0] > self._encoded[0] or claimed[1] > self._encoded[1]):
            raise self._damaged(
                index, "claims {}x{} pixels, not {}x{}".format(*claimed, *self._encoded)
            )
        try:
            pixels, _, shape = self._decode(data, index, **self._tables)
        except Exception as error:  # every codec has exceptions of its own
            raise self._damaged(index, f"cannot be decoded: {error}") from error
        if pixels is None:
            return None
        return pixels[0, : shape[1], : shape[2]]

    def _complete(self, index: int) -> bool:
        """Whether the first and last bytes of a segment are those its compression writes."""
        offset, count = self.offsets[index], self.counts[index]
        if self._omitted(index):
            return True
        if self._compression == JPEG:
            tail = min(count, len(JPEG_END) + JPEG_PADDING)
            head = os.pread(self._handle, len(JPEG_START), offset)
            end = os.pread(self._handle, tail, offset + count - tail)
            return head == JPEG_START and JPEG_END in end
        if self._compression in NEVER_ZERO_AT_END:
            tail = min(count, ZEROS)
            return any(os.pread(self._handle, tail, offset + count - tail))
        return True

    def _damaged(self, index: int, problem: str) -> HolohistoError:
        width, height = self.size
        return HolohistoError(
            self.path, f"tile {index} of the level {width}x{height} {problem}", advice=COPY_AGAIN
        )


def _spread(total: int, samples: int) -> list[int]:
    """Return at most `samples` indices below `total`, evenly spread, first and last among them."""
    if samples >= total:
        return list(range(total))
    return sorted(set(np.linspace(0, total - 1, samples).astype(int).tolist()))
