"""Damaged, truncated and unsuited files are refused in one line."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image
from slide_files import SIZE, noise, write_levels

from holohisto.errors import HolohistoError
from holohisto.slide import Slide


def write_16_bit(path):
    tifffile.imwrite(path, noise().astype(np.uint16), tile=(128, 128), photometric="rgb")


def write_stack(path):
    tifffile.imwrite(path, np.stack([noise()] * 3), tile=(128, 128), photometric="rgb")


def write_fluorescence(path):
    tifffile.imwrite(path, np.moveaxis(noise(), 2, 0), photometric="minisblack")


def write_palette(path):
    tifffile.imwrite(
        path,
        noise(channels=1)[..., 0],
        photometric="palette",
        colormap=np.zeros((3, 256), np.uint16),
    )


def write_cut_tiff(path):
    with tifffile.TiffWriter(path) as writer:
        writer.write(noise(), tile=(128, 128), photometric="rgb", metadata=None)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])


def write_cut_png(path):
    file = io.BytesIO()
    Image.fromarray(noise()).save(file, "PNG")
    path.write_bytes(file.getvalue()[:400_000])


def write_bad_tile(path):
    write_levels(path, [noise()], compression="jpeg")
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages.first.dataoffsets[-1]
    data = bytearray(path.read_bytes())
    data[offset : offset + 300] = bytes(300)
    path.write_bytes(data)


def write_bad_middle(path):
    write_levels(path, [noise()], compression="jpeg")
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages.first.dataoffsets[-1]
    data = bytearray(path.read_bytes())
    data[offset + 2 : offset + 30] = bytes(28)
    path.write_bytes(data)


REFUSED = {
    "missing": (lambda p: None, "No such file"),
    "folder": (lambda p: p.mkdir(), "Is a directory"),
    "empty": (lambda p: p.write_bytes(b""), "is not an image"),
    "text": (lambda p: p.write_text("slide\timage\n"), "is not an image"),
    "16 bit": (write_16_bit, "16-bit"),
    "16-bit png": (
        lambda p: Image.fromarray(noise()[..., 0].astype("u2")).save(p, "PNG"),
        "ushort",
    ),
    "cmyk": (lambda p: Image.new("CMYK", SIZE).save(p, "JPEG"), "cmyk"),
    "stack": (write_stack, "3 pages"),
    "fluorescence": (write_fluorescence, "3 pages"),
    "palette": (write_palette, "palette"),
    "cut tiff": (write_cut_tiff, "cut off"),
    "cut png": (write_cut_png, "damaged"),
    "bad tile": (write_bad_tile, "incomplete: its first or last bytes"),
    "bad middle of a tile": (write_bad_middle, "cannot be decoded"),
    "tiff header alone": (
        lambda p: p.write_bytes(b"II*\0\x08\0\0\0"),
        "cut off.*found 8 bytes; allowed 10",
    ),
    "tiff without picture": (lambda p: p.write_bytes(b"II*\0\0\0\0\0"), "lists no picture"),
    "null byte": (None, "null byte"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path, case):
    write, words = REFUSED[case]
    path = tmp_path / ("slide.img" if write else "null\0byte")
    if write:
        write(path)
    with pytest.raises(HolohistoError, match=words) as caught, Slide(path) as slide:
        slide.read((0, 0), (10, 10))
    assert repr(str(path))[1:-1] in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bigtiff", [False, True])
def test_every_truncation_of_a_tiff_is_told_in_plain_words(tmp_path, bigtiff):
    """Cut anywhere, in the tags or in the tiles, of any level: refused, and told as such."""
    whole = tmp_path / "whole.tif"
    with tifffile.TiffWriter(whole, bigtiff=bigtiff) as writer:
        for depth, level in enumerate([noise((150, 90)), noise((75, 45))]):
            writer.write(
                level,
                tile=(64, 64),
                compression="jpeg",
                photometric="rgb",
                metadata=None,
                subfiletype=depth,
            )
    data = whole.read_bytes()
    path = tmp_path / "cut.tif"
    for length in [*range(4, 300, 5), *range(300, len(data) - 8, 211), len(data) - 8]:
        path.write_bytes(data[:length])
        with pytest.raises(HolohistoError) as caught:
            Slide(path)
        text = str(caught.value)
        assert f"cut off: its tags point beyond its end (found {length}" in text
        assert "bytes at least); copy the file again from its source" in text


@pytest.mark.parametrize("compression", ["jpeg", "lzw", "zlib"])
def test_a_gap_in_a_tile_of_any_level_is_found(tmp_path, compression):
    path = tmp_path / "a.tif"
    write_levels(path, [noise(), noise((358, 261))], compression=compression)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[1]
        offset, count = page.dataoffsets[4], page.databytecounts[4]
    data = bytearray(path.read_bytes())
    data[offset + count // 3 : offset + count] = bytes(count - count // 3)
    path.write_bytes(data)
    with pytest.raises(HolohistoError, match="tile 4 of the level 358x261 is incomplete"):
        Slide(path)


@pytest.mark.parametrize(("padding", "fine"), [(0, True), (4, True), (5, False)])
def test_a_few_bytes_after_the_end_of_a_jpeg_are_padding(tmp_path, padding, fine):
    encoded = io.BytesIO()
    Image.fromarray(noise((128, 112))).save(encoded, "JPEG", subsampling=0)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(
            iter([encoded.getvalue() + bytes(padding)]),
            shape=(112, 128, 3),
            dtype=np.uint8,
            tile=(112, 128),
            compression="jpeg",
            photometric="ycbcr",
            metadata=None,
        )
    if fine:
        with Slide(tmp_path / "a.tif") as slide:
            assert slide.size == (128, 112)
    else:
        with pytest.raises(HolohistoError, match="incomplete"):
            Slide(tmp_path / "a.tif")
