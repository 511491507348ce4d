"""Headers that make no sense are refused at once, before anything is decoded."""

import struct

import pytest
import tifffile
from slide_files import noise, write_levels

from holohisto.errors import HolohistoError
from holohisto.slide import Slide
from holohisto.slide.pictures import picture_size


def write_loop(path, pages, back_to, bigtiff=False):
    """A TIFF whose last page leads back to an earlier one."""
    with tifffile.TiffWriter(path, bigtiff=bigtiff) as writer:
        for depth in range(pages):
            side = 300 >> depth
            writer.write(noise((side, side - 7)), tile=(64, 64), photometric="rgb", metadata=None)
    with tifffile.TiffFile(path) as tiff:
        offsets = [page.offset for page in tiff.pages]
        count = len(tiff.pages[-1].tags)
    data = bytearray(path.read_bytes())
    code, at = ("<Q", 8 + 20 * count) if bigtiff else ("<I", 2 + 12 * count)
    struct.pack_into(code, data, offsets[-1] + at, offsets[back_to])
    path.write_bytes(data)


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize(("pages", "back_to"), [(1, 0), (2, 0), (3, 1)])
def test_pages_that_lead_back_to_one_another_are_refused(tmp_path, bigtiff, pages, back_to):
    write_loop(tmp_path / "a.tif", pages, back_to, bigtiff)
    for read in (Slide, picture_size):
        with pytest.raises(HolohistoError, match="lead back to one another without end"):
            read(tmp_path / "a.tif")


def set_tag(path, code, value):
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages[0].tags[code]
        at, kind = tag.valueoffset, {3: "<H", 4: "<I"}[int(tag.dtype)]
    data = bytearray(path.read_bytes())
    struct.pack_into(kind, data, at, value)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("tag", "words"),
    [
        ("ImageWidth", "a page of 0x523 pixels"),
        ("ImageLength", "a page of 717x0 pixels"),
        ("TileWidth", "or tiles of none"),
        ("TileLength", "or tiles of none"),
    ],
)
def test_sides_of_0_are_refused(tmp_path, tag, words):
    write_levels(tmp_path / "a.tif", [noise()])
    set_tag(tmp_path / "a.tif", tag, 0)
    with pytest.raises(HolohistoError, match=words):
        Slide(tmp_path / "a.tif")


def test_tiles_that_no_memory_holds_are_refused(tmp_path):
    write_levels(tmp_path / "a.tif", [noise()])
    for tag in ("TileWidth", "TileLength"):
        set_tag(tmp_path / "a.tif", tag, 65520)
    with pytest.raises(HolohistoError, match="claims a size beyond any slide"):
        Slide(tmp_path / "a.tif")
