"""What libjpeg complains of in the JPEG data of a tile.

Most decoders keep libjpeg's warnings to themselves and return noise. libtiff passes them on when it
reads a strip to its end, and libvips then fails; so the data is read as a TIFF of one strip.
"""

import struct
from dataclasses import dataclass
from typing import Any

SHORT, LONG, BYTES = 3, 4, 7
"""TIFF data types."""
JPEG, GREY, YCBCR = 7, 1, 6
BITS_PER_SAMPLE, STRIP_OFFSETS, JPEG_TABLES = 258, 273, 347


@dataclass(frozen=True)
class JpegFrame:
    """The frame header of a JPEG."""

    width: int
    height: int
    components: int
    sampling: tuple[int, int]
    """Horizontal and vertical sampling factors of the first component."""


def frame_of(data: bytes) -> JpegFrame | None:
    """Return the frame header of JPEG data; None where there is none before the first scan."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker == 0xDA:
            return None
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and at + 12 <= len(data):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            factors = data[at + 11] if data[at + 9] else 0x11
            return JpegFrame(width, height, data[at + 9], (factors >> 4, factors & 15))
        at += 2 + length
    return None


STANDARD_CODES = bytes.fromhex("0002010303020403050504040000017d")
"""Lengths of the usual Huffman codes of luminance. By them, zeros are no picture."""
GAP = bytes(64)
"""Zeros in a row that no JPEG with these codes has: a part of the file was not copied."""


def damage(data: bytes, tables: bytes | None) -> str | None:
    """Return why JPEG data is damaged, or None.

    Args:
        data: The JPEG of a tile or strip, with 1 or 3 components; any other is not judged.
        tables: Its quantisation and Huffman tables, where the data has none of its own.
    """
    import pyvips

    frame = frame_of(data)
    if frame is None or not frame.width or not frame.height:
        return "it has no frame header"
    if frame.components not in (1, 3):
        return None
    if GAP in data and (STANDARD_CODES in data or STANDARD_CODES in (tables or b"")):
        return "it holds a gap of zeros"
    strip = _as_strip(data, tables, frame)
    try:
        image: Any = pyvips.Image.tiffload_buffer(strip, fail_on="warning", access="sequential")
        image.avg()
    except pyvips.Error:
        return "libjpeg finds its data corrupt"
    return None


def _as_strip(data: bytes, tables: bytes | None, frame: JpegFrame) -> bytes:
    """A TIFF with one strip, the JPEG data itself."""
    colour = frame.components == 3
    tags = [
        [256, LONG, 1, frame.width],
        [257, LONG, 1, frame.height],
        [BITS_PER_SAMPLE, SHORT, frame.components, 8],
        [259, SHORT, 1, JPEG],
        [262, SHORT, 1, YCBCR if colour else GREY],
        [STRIP_OFFSETS, LONG, 1, 0],
        [277, SHORT, 1, frame.components],
        [278, LONG, 1, frame.height],
        [279, LONG, 1, len(data)],
        [284, SHORT, 1, 1],
    ]
    if tables:
        tags.append([JPEG_TABLES, BYTES, len(tables), 0])
    if colour:
        tags.append([530, SHORT, 2, frame.sampling[0] | frame.sampling[1] << 16])
    start = 8 + 2 + 12 * len(tags) + 4
    values = b""
    for tag in tags:
        if tag[0] == BITS_PER_SAMPLE and colour:
            tag[3] = start + len(values)
            values += struct.pack("<4H", 8, 8, 8, 0)
        elif tag[0] == JPEG_TABLES:
            tag[3] = start + len(values)
            values += (tables or b"") + bytes(len(tables or b"") % 2)
    next(tag for tag in tags if tag[0] == STRIP_OFFSETS)[3] = start + len(values)
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    return head + values + data
