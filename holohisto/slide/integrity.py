"""Which files hold the bytes of a slide, and whether a TIFF is truncated."""

import os
import struct
from pathlib import Path
from typing import BinaryIO

from holohisto.errors import HolohistoError
from holohisto.sheet.dicom import series_files
from holohisto.slide.claims import LONGEST_DESCRIPTION, MOST_SUB_PAGES, require_description

COPY_AGAIN = "copy the file again from its source"
MOST_PAGES = 10_000
"""Largest number of pages of a TIFF."""
TYPE_BYTES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
"""Bytes of a value of each TIFF data type."""
DESCRIPTION, SUB_PAGES = 270, 330
WIDTH, LENGTH, TILE_WIDTH, TILE_LENGTH = 256, 257, 322, 323
SIDES = (WIDTH, LENGTH, TILE_WIDTH, TILE_LENGTH)
INTEGERS = {3: "H", 4: "I", 16: "Q"}
"""Codes of the data types of a side."""
ESSENTIAL = (258, 270, 273, 279, 324, 325, 347, SUB_PAGES)
"""Tags that readers need. Vendors' private tags may point anywhere."""


def file_bytes(path: Path) -> list[Path]:
    """Return the files that hold a slide: its own first, then those in the folder of a MIRAX slide
    or of the same DICOM series.
    """
    if path.suffix.lower() == ".dcm" and path.is_file():
        return [path, *(other for other in series_files(path) if other != path)]
    side = path.with_suffix("")
    if path.suffix.lower() == ".mrxs" and side.is_dir():
        return [path, *sorted(Path(entry.path) for entry in os.scandir(side) if entry.is_file())]
    return [path]


def cut_short(path: Path, length: int, needed: int) -> HolohistoError:
    """Return the error of a file of `length` bytes whose tags point to byte `needed`."""
    return HolohistoError(
        path,
        "the file is damaged, it was cut off: its tags point beyond its end",
        found=f"{length} bytes",
        allowed=f"{needed} bytes at least",
        advice=COPY_AGAIN,
    )


def check_whole(path: Path) -> None:
    """Check that the tags of all pages of a TIFF, and their values, lie within the file.

    Costs two short reads per page; the data of tiles is not read.

    Raises:
        HolohistoError: the file is shorter than its tags require, lists no page, or its pages lead
            back to themselves, or have no pixel.
    """
    with path.open("rb") as file:
        length = file.seek(0, 2)
        tags = _Tags(file, path, length)
        first = tags.first()
        if not first:
            raise HolohistoError(
                path,
                "the TIFF lists no picture: it was never written to its end",
                advice=COPY_AGAIN,
            )
        seen: set[int] = set()
        chains = [first]
        while chains:
            offset, chain = chains.pop(), set[int]()
            while offset and (offset not in seen or offset in chain):
                if offset in chain:
                    raise _senseless(path, "its pages lead back to one another without end")
                if len(seen) == MOST_PAGES:
                    raise _senseless(path, f"it lists more than {MOST_PAGES} pages")
                chain.add(offset)
                seen.add(offset)
                offset, sub_pages = tags.page(offset)
                chains += sub_pages


def _senseless(path: Path, problem: str) -> HolohistoError:
    return HolohistoError(path, f"is a damaged TIFF: {problem}", advice=COPY_AGAIN)


class _Tags:
    """The tags of a TIFF or BigTIFF, read without a library, since libraries skip broken ones."""

    def __init__(self, file: BinaryIO, path: Path, length: int) -> None:
        self._file, self._path, self._length = file, path, length
        head = self._bytes(0, 4)
        self._order = "<" if head[:2] == b"II" else ">"
        self._big = 43 in head[2:4]
        self._size = 8 if self._big else 4  # of an offset

    def first(self) -> int:
        """Return the offset of the first page; 0 without a page."""
        return self._numbers(8 if self._big else 4, 1, self._size)[0]

    def page(self, offset: int) -> tuple[int, list[int]]:
        """Check the page at `offset`; returns the offsets of the next page and of sub-pages."""
        width = 8 if self._big else 2
        count = self._numbers(offset, 1, width)[0]
        entry = 20 if self._big else 12
        data = self._bytes(offset + width, count * entry + self._size)
        following: int = struct.unpack(self._order + self._code(self._size), data[-self._size :])[0]
        sub_pages: list[int] = []
        sides: dict[int, int] = {}
        for start in range(0, count * entry, entry):
            sub_pages += self._entry(data[start : start + entry], sides)
        self._check_sides(sides)
        return following, sub_pages

    def _entry(self, entry: bytes, sides: dict[int, int]) -> list[int]:
        """Check where the value of one tag lies; returns the offsets of sub-pages."""
        tag, kind = struct.unpack(self._order + "HH", entry[:4])
        count = struct.unpack(self._order + self._code(self._size), entry[4 : -self._size])[0]
        value = entry[-self._size :]
        if tag in SIDES and kind in INTEGERS and count == 1:
            code = self._order + INTEGERS[kind]
            sides[tag] = struct.unpack(code, value[: struct.calcsize(code)])[0]
        if tag not in ESSENTIAL or kind not in TYPE_BYTES:
            return []
        nbytes = count * TYPE_BYTES[kind]
        offset = struct.unpack(self._order + self._code(self._size), value)[0]
        if nbytes > self._size and offset + nbytes > self._length:
            raise cut_short(self._path, self._length, offset + nbytes)
        if tag == DESCRIPTION and nbytes > self._size:
            if nbytes > LONGEST_DESCRIPTION:
                raise HolohistoError(self._path, "its description is too long", found=nbytes)
            require_description(self._path, self._bytes(offset, nbytes))
        if tag != SUB_PAGES:
            return []
        if count > MOST_SUB_PAGES:
            raise HolohistoError(
                self._path, "lists too many reduced levels", found=count, allowed=MOST_SUB_PAGES
            )
        if nbytes > self._size:
            return list(self._numbers(offset, count, TYPE_BYTES[kind]))
        return [offset] if count else []

    def _check_sides(self, sides: dict[int, int]) -> None:
        if 0 in sides.values():
            size = f"{sides.get(WIDTH, 1)}x{sides.get(LENGTH, 1)}"
            raise _senseless(self._path, f"it has a page of {size} pixels, or tiles of none")

    def _numbers(self, offset: int, count: int, size: int) -> tuple[int, ...]:
        data = self._bytes(offset, count * size)
        return struct.unpack(f"{self._order}{count}{self._code(size)}", data)

    def _bytes(self, offset: int, count: int) -> bytes:
        if offset + count > self._length:
            raise cut_short(self._path, self._length, offset + count)
        self._file.seek(offset)
        return self._file.read(count)

    @staticmethod
    def _code(size: int) -> str:
        return {2: "H", 4: "I", 8: "Q"}[size]
