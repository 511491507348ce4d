"""What a file claims about its size, compared before anything is decoded.

A few bytes can claim a picture that no memory holds. Every claim is checked against limits that no
slide reaches, and claims of the same thing against each other.
"""

import math
import re
import struct
from pathlib import Path
from typing import Any

from holohisto.errors import HolohistoError

LONGEST_SIDE, MOST_PIXELS = 2**22, 2**38
"""Largest side and number of pixels of a slide. The largest scans have 400,000 and 10^11."""
LARGEST_PICTURE = 2**31
"""Largest number of pixels of a picture without tiles."""
TILE_BYTES, STRIP_BYTES = 2**29, 2**33
"""Largest size of a decoded tile and strip; old software writes a picture as one strip."""
MOST_SUB_PAGES = 64
"""Largest number of reduced levels below a page of a TIFF."""
LONGEST_DESCRIPTION = 2**26
"""Bytes of a TIFF's description, such as OME XML."""
MOST_PLANES = 100_000
"""Largest number of planes that OME XML may list."""
RATIO = 1100
"""Decoded bytes to a byte of a PNG or JPEG: deflate reaches 1032, JPEG 1024."""
JPEG, JPEG_2000 = 7, (33003, 33005, 34712)
SMALLER = "a damaged or made-up file; if the slide is real, save it as a pyramidal TIFF of tiles"


def require_size(path: Path, sizes: list[tuple[int, int]]) -> None:
    """Check the sizes of a slide's levels.

    Raises:
        HolohistoError: a level is empty, or larger than any slide.
    """
    for width, height in sizes:
        if min(width, height) < 1 or max(width, height) > LONGEST_SIDE:
            raise _beyond(path, f"{width}x{height} pixels", f"sides of 1 to {LONGEST_SIDE}")
        if width * height > MOST_PIXELS:
            raise _beyond(path, f"{width}x{height} pixels", f"{MOST_PIXELS} pixels")


def require_segment(path: Path, page: Any) -> None:
    """Check the size of the tiles or strips of tifffile's page.

    Raises:
        HolohistoError: a decoded one would be too large for any memory of a job.
    """
    width, height = (
        (page.tilewidth, page.tilelength)
        if page.is_tiled
        else (page.imagewidth, min(page.rowsperstrip, page.imagelength))
    )
    samples = page.samplesperpixel if page.planarconfig == 1 else 1
    size = width * height * samples * max(1, (page.bitspersample or 8) // 8)
    what, largest = ("tiles", TILE_BYTES) if page.is_tiled else ("strips", STRIP_BYTES)
    if min(width, height) < 1 or size > largest:
        raise _beyond(path, f"{what} of {width}x{height}", f"{largest} bytes")


def require_picture(path: Path, size: tuple[int, int], samples: int) -> None:
    """Check the size of a PNG or JPEG against limits and against the size of its file.

    Raises:
        HolohistoError: it is too large, or its file too small to hold it.
    """
    pixels, length = math.prod(size), path.stat().st_size
    found = f"{size[0]}x{size[1]} pixels in {length} bytes"
    if pixels < 1 or pixels > LARGEST_PICTURE:
        raise _beyond(path, found, f"{LARGEST_PICTURE} pixels without tiles")
    if pixels * samples > RATIO * (length + 1000) * 8:  # 8: pixels of one bit
        raise _beyond(path, found, f"{RATIO} pixels for each byte")


def encoded_size(data: bytes, compression: int) -> tuple[int, int] | None:
    """Return the size that an encoded tile itself claims.

    Args:
        data: A tile as it is stored.
        compression: The TIFF compression.

    Returns:
        Width and height; None for compressions whose data has no size, and for damaged data.
    """
    if compression == JPEG:
        return _jpeg_size(data)
    if compression in JPEG_2000 and (start := data.find(b"\xff\x4f\xff\x51")) >= 0:
        box = data[start + 8 : start + 24]
        if len(box) == 16:
            width, height, left, top = struct.unpack(">4I", box)
            return width - left, height - top
    return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """The size in the frame header of a JPEG."""
    place = 2
    while place + 9 <= len(data) and data[place] == 0xFF:
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        if marker == 0xFF:  # padding
            place += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[place + 5 : place + 9])
            return width, height
        place += 2 + max(length, 2)
    return None


def require_description(path: Path, text: bytes) -> None:
    """Check a TIFF's description before a parser of XML reads it.

    Raises:
        HolohistoError: it defines entities, or lists more planes than any slide has.
    """
    if re.search(rb"<!\s*(DOCTYPE|ENTITY)", text, re.IGNORECASE):
        raise HolohistoError(
            path, "its description defines XML entities", allowed="OME XML, which has none"
        )
    for element in re.findall(rb"<(?:\w+:)?Pixels\b[^>]{0,10000}", text):
        counts = re.findall(rb"\bSize[ZCT]\s*=\s*[\"']\s*(\d{1,30})", element)
        if math.prod(map(int, counts)) > MOST_PLANES:
            raise _beyond(path, "x".join(c.decode() for c in counts) + " planes", MOST_PLANES)


def _beyond(path: Path, found: str, allowed: object) -> HolohistoError:
    return HolohistoError(
        path, "claims a size beyond any slide's", found=found, allowed=allowed, advice=SMALLER
    )
