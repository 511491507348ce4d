"""One damaged tile anywhere fails its slide: `foreground` decodes every tile that is read later."""

import numpy as np
import pytest
import tifffile
from PIL import Image
from slide_files import SIZE, noise, tissue, write_levels

from holohisto.config.sections import CheckOptions, ForegroundOptions
from holohisto.errors import HolohistoError
from holohisto.foreground.map import find_foreground
from holohisto.slide import Slide
from holohisto.slide.record import record_of
from holohisto.slide.scale import Scale
from holohisto.slide.verify import verify

WIDTH, HEIGHT = SIZE
SMOOTH = np.asarray(Image.fromarray(noise((60, 50))).resize(SIZE))
HALF = np.ascontiguousarray(SMOOTH[::2, ::2][: HEIGHT // 2, : WIDTH // 2])
TILES = 30
FLAVOURS = {
    "jpeg": {"compression": "jpeg"},
    "jpeg, chroma halved": {
        "compression": "jpeg",
        "photometric": "ycbcr",
        "subsampling": (2, 2),
    },
    "lzw": {"compression": "lzw"},
    "deflate": {"compression": "zlib"},
    "jpeg 2000": {"compression": "jpeg2000"},
    "deflate strips": {"compression": "zlib", "tile": None, "rowsperstrip": 100},
    "jpeg strips": {"compression": "jpeg", "tile": None, "rowsperstrip": 96},
}


def spoil(path, page, tile, at, data):
    """Write `data` into a tile, at this share of its bytes."""
    with tifffile.TiffFile(path) as tiff:
        frame = tiff.pages[page]
        offset, count = frame.dataoffsets[tile], frame.databytecounts[tile]
    file = bytearray(path.read_bytes())
    start = offset + int(count * at)
    file[start : start + len(data)] = data
    path.write_bytes(file)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_whole_files_of_every_codec_have_no_damage(tmp_path, flavour):
    write_levels(tmp_path / "a.tif", [SMOOTH], **FLAVOURS[flavour])
    with Slide(tmp_path / "a.tif") as slide:
        verify(slide, Scale.whole(1))


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_zeros_in_the_middle_of_any_tile_are_found(tmp_path, flavour):
    path = tmp_path / "a.tif"
    for tile in (1, 3) if "strips" in flavour else (1, 13, 28):
        write_levels(path, [SMOOTH], **FLAVOURS[flavour])
        spoil(path, 0, tile, 0.6, bytes(300))
        where = rf"a.tif: tile {tile} of the level 717x523 "
        with pytest.raises(HolohistoError, match=where), Slide(path) as slide:
            verify(slide, Scale.whole(1))


@pytest.mark.parametrize("flavour", ["jpeg", "jpeg, chroma halved", "lzw", "deflate"])
def test_a_level_below_the_one_that_is_read_may_be_damaged_and_one_above_may_not(tmp_path, flavour):
    path = tmp_path / "a.tif"
    junk = np.random.default_rng(3).integers(0, 256, 200, dtype=np.uint8).tobytes()
    for page, refused in ((0, False), (1, True)):
        write_levels(path, [SMOOTH, HALF], **FLAVOURS[flavour])
        spoil(path, page, 5, 0.5, junk)
        with Slide(path) as slide:
            if not refused:
                verify(slide, Scale.whole(2))
                continue
            with pytest.raises(HolohistoError, match=r"tile 5 of the level 358x261"):
                verify(slide, Scale.whole(2))


def test_foreground_refuses_what_check_did_not_sample(tmp_path):
    path = tmp_path / "a.tif"
    pixels = tissue((2005, 1603), (300, 250, 1700, 1400))
    write_levels(path, [pixels], compression="jpeg", tile=(96, 112))
    spoil(path, 0, 101, 0.7, b"\x55" * 150)
    with Slide(path, mpp=0.5) as slide:
        record = record_of("s1", slide, 0.5, None, CheckOptions())
        with pytest.raises(HolohistoError, match=r"tile 101 .*copy the file again"):
            find_foreground(slide, record, ForegroundOptions(), None)


@pytest.mark.parametrize(("name", "options"), [("a.jpg", {"quality": 90}), ("a.png", {})])
def test_a_damaged_picture_is_refused_when_it_is_read(tmp_path, name, options):
    path = tmp_path / name
    Image.fromarray(SMOOTH).save(path, **options)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 40] = b"\xff" * 40
    path.write_bytes(data)
    slide = Slide(path, background=(255, 255, 255))
    with slide, pytest.raises(HolohistoError, match="cannot be read"):
        slide.read((0, 0), SIZE)
