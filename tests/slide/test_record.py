"""The record of a slide, and what is refused."""

import numpy as np
import pytest
import tifffile
from slide_files import SIZE, noise, tissue, write_levels, write_ome

from holohisto.config.sections import CheckOptions
from holohisto.errors import HolohistoError
from holohisto.planning.cost import estimate
from holohisto.pyramid.write import write_slide_pyramid
from holohisto.slide.record import SlideRecord, inspect

PIXELS = tissue(SIZE, (100, 80, 500, 400))
HALF = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}


@pytest.fixture
def slide(tmp_path):
    path = tmp_path / "slide.tif"
    write_levels(path, [PIXELS, PIXELS[::2, ::2][:261, :358]], **HALF)
    return path


def test_a_record_holds_what_later_verbs_need(slide, tmp_path):
    record = inspect("s1", slide, None, None, CheckOptions(mpp=1.0))
    assert record.size == SIZE
    assert (record.mpp, record.mpp_source) == (pytest.approx(0.5), "tags")
    assert (record.reader, record.compression) == ("cucim", "lzw")
    assert record.levels == [SIZE, (358, 261)]
    assert (record.scale.factor, record.working_size) == (2, (359, 262))
    assert record.working_mpp == pytest.approx(1.0)
    assert record.background == (243, 243, 243)
    assert (record.annotation, record.warnings) == (None, [])
    (tmp_path / "r.json").write_text(record.text())
    assert SlideRecord.read(tmp_path / "r.json") == record
    with record.open(slide) as opened:
        assert (opened.mpp, opened.background) == (record.mpp, (243, 243, 243))


def test_the_background_of_the_record_is_used_without_looking_again(slide):
    record = inspect("s1", slide, None, None, CheckOptions()).model_copy(
        update={"background": (9, 8, 7)}
    )
    with record.open(slide) as opened:
        assert opened.read((-4, 0), (3, 2)).reshape(-1, 3).tolist() == [[9, 8, 7]] * 6


def test_a_changed_image_is_not_opened(slide):
    record = inspect("s1", slide, None, None, CheckOptions())
    write_levels(slide, [noise()], **HALF)
    with pytest.raises(HolohistoError, match="has changed since"):
        record.open(slide)


def test_no_mpp_names_the_column(tmp_path):
    write_levels(tmp_path / "a.tif", [PIXELS])
    with pytest.raises(HolohistoError, match=r"slide s1: .*set the column `mpp` of the sheet"):
        inspect("s1", tmp_path / "a.tif", None, None, CheckOptions())
    record = inspect("s1", tmp_path / "a.tif", None, 0.25, CheckOptions())
    assert (record.mpp, record.mpp_source, record.scale.factor) == (0.25, "sheet", 2)


@pytest.mark.parametrize(
    ("shape", "fits"), [((523, 717), "level 0"), ((262, 359), "working"), ((523, 716), None)]
)
def test_an_annotation_fits_level_0_or_working_size(slide, tmp_path, shape, fits):
    path = tmp_path / "annotation.tif"
    tifffile.imwrite(path, np.zeros(shape, np.uint8), metadata=None)
    options = CheckOptions(mpp=1.0)
    if fits is None:
        with pytest.raises(HolohistoError, match=r"found 716x523; allowed 717x523 .* 359x262"):
            inspect("s1", slide, path, None, options)
    else:
        record = inspect("s1", slide, path, None, options)
        assert record.annotation == {"size": [shape[1], shape[0]], "fits": fits}


def test_warnings(tmp_path):
    write_ome(tmp_path / "a.ome.tif", [PIXELS], mpp=0.46)
    record = inspect("s1", tmp_path / "a.ome.tif", None, 0.48, CheckOptions())
    assert record.warnings == [
        "the sheet's mpp 0.48 replaces 0.46 of the file",
    ]
    flat = np.full((700, 9001, 3), 240, np.uint8)
    write_levels(tmp_path / "flat.tif", [flat], **HALF)
    record = inspect("s2", tmp_path / "flat.tif", None, None, CheckOptions())
    assert len(record.warnings) == 1
    assert record.warnings[0].startswith("no pyramid")


def test_a_damaged_tile_in_the_middle_is_found(tmp_path):
    path = tmp_path / "a.tif"
    write_levels(path, [PIXELS], compression="jpeg", **HALF)
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages.first.dataoffsets[7]
    data = bytearray(path.read_bytes())
    data[offset : offset + 200] = bytes(200)
    path.write_bytes(data)
    with pytest.raises(HolohistoError, match=r"tile 7 .*incomplete"):
        inspect("s1", path, None, None, CheckOptions())


def test_cut_tiles_of_a_lower_level_are_found(tmp_path):
    """The pipeline reads the level of the working resolution, not only the first."""
    path = tmp_path / "a.tif"
    write_slide_pyramid(path, tissue((1437, 1301), (100, 80, 1300, 1200)), 0.25)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[1]
        tiles = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    assert len(tiles) == 9
    inspect("s1", path, None, None, CheckOptions())
    whole = path.read_bytes()
    for cut in (tiles, tiles[4:5]):
        data = bytearray(whole)
        for offset, count in cut:
            data[offset + count // 3 : offset + count] = bytes(count - count // 3)
        path.write_bytes(data)
        with pytest.raises(HolohistoError, match=r"of the level 718x650 is incomplete"):
            inspect("s1", path, None, None, CheckOptions())


def test_an_annotation_cut_short_is_reported_in_plain_words(slide, tmp_path):
    path = tmp_path / "annotation.tif"
    tifffile.imwrite(path, np.zeros((523, 717), np.uint8), metadata=None)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(HolohistoError, match=r"annotation.tif: .*it was cut off.*found 100"):
        inspect("s1", slide, path, None, CheckOptions())


@pytest.mark.data
def test_real_slides(data):
    folder = data / "slides"
    record = inspect(
        "a", folder / "mosaic_a.tif", folder / "mosaic_a_mask.tif", None, CheckOptions()
    )
    assert (record.size, record.scale.factor, record.mpp) == ((4519, 2693), 1, pytest.approx(0.5))
    assert record.annotation == {"size": [4519, 2693], "fits": "level 0"}
    assert estimate(record.size, record.working_size)["token_map"] == [283, 169]
    with pytest.raises(HolohistoError, match="column `mpp`"):
        inspect("t", folder / "tcga-cr-7395-01a-01-ts1.svs", None, None, CheckOptions())
    record = inspect("c", folder / "cmu-1-small-region.svs", None, None, CheckOptions())
    assert (record.mpp, record.mpp_source, record.levels) == (0.499, "header", [(2220, 2967)])
