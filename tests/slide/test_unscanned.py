"""Where nothing was scanned, and where a file omits tiles, a slide has its background colour."""

import struct

import numpy as np
import pytest
import tifffile
from slide_files import SIZE, tissue, write_levels, write_png
from vendor_files import write_mrxs, write_scn

from holohisto.foreground.map import Foreground
from holohisto.foreground.tissue import Tissue
from holohisto.slide import Slide
from holohisto.slide.scale import Scale
from holohisto.tiles.colour import COMMON
from holohisto.tiles.grid import Tile

GLASS = (236, 231, 226)
WIDTH, HEIGHT = SIZE
PIXELS = tissue(SIZE, (150, 180, 520, 400), around=GLASS)
MARGIN = 100
"""Transparent rows at the top of the pictures."""


def rgba_png(path):
    write_png(path.with_suffix(".png"), transparent())
    return path.with_suffix(".png"), (0, 0)


def rgba_tiff(path):
    write_levels(path, [transparent()], extrasamples=["unassalpha"])
    return path, (0, 0)


def transparent():
    alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    alpha[:MARGIN] = 0
    return np.concatenate([PIXELS, alpha], axis=2)


def leica(path):
    write_scn(path.with_suffix(".scn"), PIXELS[MARGIN:], (305, 203 + MARGIN), (1411, 1007))
    return path.with_suffix(".scn"), (305, 203)


def mirax(path):
    plane = np.full((1024, 1536, 3), 255, np.uint8)
    scanned = np.zeros((4, 6), bool)
    scanned[2:4, 2:6] = True
    plane[512:, 512:] = GLASS
    plane[540 : 540 + HEIGHT - MARGIN, 530 : 530 + WIDTH] = PIXELS[MARGIN:]
    write_mrxs(path.with_suffix(".mrxs"), plane, scanned)
    return path.with_suffix(".mrxs"), (530, 540 - MARGIN)


@pytest.fixture(params=[rgba_png, rgba_tiff, leica, mirax])
def unscanned(request, tmp_path):
    return request.param(tmp_path / "slide.tif")


def test_unscanned_parts_have_the_colour_of_the_glass(unscanned):
    path, (x, y) = unscanned
    with Slide(path, mpp=0.5) as slide:
        assert np.abs(np.subtract(slide.background, GLASS)).max() <= 1
        for factor in (1, 2, 5):
            above = slide.read(
                (x // factor * factor, 0), (WIDTH // factor, y // factor + 5), factor
            )
            assert (above == slide.background).all()
        scanned = slide.read((x + 200, y + 200), (300, 190)).astype(int)
        assert np.abs(scanned - PIXELS[200:390, 200:500]).mean() < 3


def test_pixels_may_be_written_to_wherever_they_are_read(unscanned):
    path, (x, y) = unscanned
    with Slide(path, mpp=0.5) as slide:
        for at in ((x + 200, y + 200), (x, y + MARGIN - 50), (x, y), (-30, -20)):
            for size in ((64, 48), (300, 200)):
                slide.read(at, size)[:] = 0


def test_networks_see_glass_where_nothing_was_scanned(unscanned):
    path, (x, y) = unscanned
    with Slide(path, mpp=0.5) as slide:
        mask = np.ones([side // 16 + 1 for side in reversed(slide.size)], bool)
        tissue_of = Tissue(slide, Scale.whole(1), Foreground(mask, 16, 0.05, COMMON))
        read = tissue_of.read(Tile(y, x, 300, MARGIN - 10))
        assert read.min() >= 250
        assert (tissue_of.read(Tile(y, -99, 60, 48)) == 255).all()


def omit(path, page, tiles):
    """Set the offsets and lengths of some tiles to 0, as writers of sparse files do."""
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        for name in ("TileOffsets", "TileByteCounts"):
            tag = tiff.pages[page].tags[name]
            width = {3: 2, 4: 4, 16: 8}[int(tag.dtype)]
            for tile in tiles:
                at = tag.valueoffset + tile * width
                data[at : at + width] = struct.pack("<Q", 0)[:width]
    path.write_bytes(data)


CODECS = ["jpeg", "lzw", None, "zlib", "zstd", "jpeg2000"]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("level", [0, 1])
def test_omitted_tiles_of_any_level_are_background(tmp_path, codec, level):
    path = tmp_path / "a.tif"
    levels = [PIXELS, PIXELS[::2, ::2][: HEIGHT // 2, : WIDTH // 2]]
    write_levels(path, levels, compression=codec)
    last = len(tifffile.TiffFile(path).pages[level].dataoffsets) - 1
    with Slide(path) as slide:
        whole = (
            slide.read((0, 0), (WIDTH // 2, HEIGHT // 2), 2) if level else slide.read((0, 0), SIZE)
        )
    omit(path, level, [0, 4, last])
    with Slide(path) as slide:
        size = (WIDTH // 2, HEIGHT // 2) if level else SIZE
        read = slide.read((0, 0), size, 1 + level)
        assert np.abs(np.subtract(slide.background, GLASS)).max() <= 1
        assert (read[:128, :128] == slide.background).all()
        assert (read[-(size[1] % 128) :, -(size[0] % 128) :] == slide.background).all()
        assert np.abs(read[:128, 128:256].astype(int) - whole[:128, 128:256]).mean() < 1


def test_omitted_strips_and_grey_tiles_are_background(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS[..., 0], tile=(128, 128), compression="lzw", metadata=None)
    omit(path, 0, [0])
    with Slide(path) as slide:
        assert (slide.read((0, 0), (128, 128)) == slide.background).all()
        np.testing.assert_array_equal(slide.read((128, 0), (50, 9))[..., 1], PIXELS[:9, 128:178, 0])
    options = {"rowsperstrip": 64, "compression": "lzw", "photometric": "rgb", "metadata": None}
    tifffile.imwrite(path, PIXELS, **options)
    data = path.read_bytes()
    with tifffile.TiffFile(path) as tiff:
        for name in ("StripOffsets", "StripByteCounts"):
            tag = tiff.pages[0].tags[name]
            width = {3: 2, 4: 4}[int(tag.dtype)]
            data = data[: tag.valueoffset] + bytes(width) + data[tag.valueoffset + width :]
    path.write_bytes(data)
    with Slide(path) as slide:
        assert (slide.read((0, 0), (WIDTH, 64)) == slide.background).all()
        np.testing.assert_array_equal(slide.read((0, 64), (WIDTH, 60)), PIXELS[64:124])
