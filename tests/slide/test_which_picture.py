"""Which of a file's pictures is the slide, and which pages are its levels."""

import numpy as np
import pytest
import tifffile
from slide_files import SIZE, brute_mean, tissue

from holohisto.config.sections import CheckOptions
from holohisto.errors import HolohistoError
from holohisto.slide import Slide
from holohisto.slide.record import inspect

WIDTH, HEIGHT = 1437, 1051
BIG = tissue((WIDTH, HEIGHT), (300, 200, 1100, 800))
HALF, QUARTER = brute_mean(BIG, 2), brute_mean(BIG, 4)
MACRO = np.full((300, 210, 3), (120, 40, 60), np.uint8)
TILED = {"photometric": "rgb", "compression": "lzw", "tile": (128, 128), "metadata": None}
AT = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}


def write_pages(path, pages):
    """Pages of (pixels, options)."""
    with tifffile.TiffWriter(path) as writer:
        for pixels, options in pages:
            writer.write(pixels, **{**TILED, **options})


def write_ome(path, order):
    with tifffile.TiffWriter(path, ome=True) as writer:
        for name, pixels, mpp in order:
            metadata = {"axes": "YXS", "Name": name, "PhysicalSizeX": mpp, "PhysicalSizeY": mpp}
            levels = [pixels, brute_mean(pixels, 2)] if name == "tissue" else [pixels]
            options = {**TILED, "metadata": metadata, "subifds": len(levels) - 1}
            writer.write(levels[0], **options)
            for level in levels[1:]:
                writer.write(level, **TILED, subfiletype=1)


def test_an_ome_tiff_whose_macro_comes_first_is_read_at_the_slide(tmp_path):
    path = tmp_path / "a.ome.tif"
    write_ome(path, [("macro image", MACRO, 20.0), ("tissue", BIG, 0.5)])
    record = inspect("s1", path, None, None, CheckOptions())
    assert (record.size, record.mpp) == ((WIDTH, HEIGHT), 0.5)
    assert record.levels == [(WIDTH, HEIGHT), (WIDTH // 2, HEIGHT // 2)]
    assert record.warnings == []
    with Slide(path) as slide:
        np.testing.assert_array_equal(slide.read((100, 90), (700, 500)), BIG[90:590, 100:800])
        np.testing.assert_array_equal(slide.read((0, 0), (600, 500), 2), HALF[:500, :600])


def test_other_scenes_are_named(tmp_path):
    path = tmp_path / "a.ome.tif"
    other = tissue((900, 703), (100, 200, 500, 600))
    write_ome(path, [("scene 1", other, 0.5), ("tissue", BIG, 0.5)])
    record = inspect("s1", path, None, None, CheckOptions())
    assert record.size == (WIDTH, HEIGHT)
    assert len(record.warnings) == 1
    assert "other pictures of the file are not read: scene 1 (900x703)" in record.warnings[0]


@pytest.mark.parametrize(
    "order", [[0, 1, 2], [2, 1, 0], [1, 0, 2]], ids=["falling", "rising", "mixed"]
)
@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize(
    "options", [{}, {"compression": "zlib", "predictor": True}, {"tile": None}]
)
def test_levels_in_any_order_marked_as_reduced_or_not(tmp_path, order, marked, options):
    path, levels = tmp_path / "a.tif", [BIG, HALF, QUARTER]
    pages = [(levels[i], {**AT, **options, "subfiletype": int(marked and i > 0)}) for i in order]
    write_pages(path, pages)
    with Slide(path, mpp=0.5) as slide:
        assert slide.levels == [pixels.shape[1::-1] for pixels in levels]
        for factor, wanted in zip((1, 2, 4), levels, strict=True):
            height, width = wanted.shape[:2]
            read = slide.read((0, 0), (width, height), factor)
            np.testing.assert_array_equal(read, wanted)


def test_labels_macros_and_thumbnails_are_no_levels(tmp_path):
    path = tmp_path / "a.tif"
    pages = [
        (MACRO, AT),
        (BIG, AT),
        (255 - HALF, {"description": "macro"}),
        (255 - QUARTER, {"tile": None, "rowsperstrip": 16, "subfiletype": 1}),
        (QUARTER, {"subfiletype": 1}),
    ]
    write_pages(path, pages)
    with Slide(path) as slide:
        assert slide.levels == [(WIDTH, HEIGHT), (WIDTH // 4, HEIGHT // 4)]
        read = slide.read((0, 0), (WIDTH // 4, HEIGHT // 4), 4)
        np.testing.assert_array_equal(read, QUARTER)


@pytest.mark.parametrize("marked", [0, 1])
def test_a_thumbnail_of_a_levels_size_is_not_read_instead_of_it(tmp_path, marked):
    path = tmp_path / "a.tif"
    thumbnail = {"tile": None, "rowsperstrip": 16, "subfiletype": marked}
    write_pages(path, [(BIG, AT), (255 - QUARTER, thumbnail), (QUARTER, {"subfiletype": 1})])
    with Slide(path) as slide:
        assert slide.levels == [(WIDTH, HEIGHT), (WIDTH // 4, HEIGHT // 4)]
        read = slide.read((0, 0), (WIDTH // 4, HEIGHT // 4), 4)
        np.testing.assert_array_equal(read, QUARTER)


def test_another_picture_of_half_the_size_is_no_level(tmp_path):
    path = tmp_path / "a.tif"
    write_pages(path, [(BIG, AT), (255 - HALF, AT)])
    with Slide(path) as slide:
        assert slide.levels == [(WIDTH, HEIGHT)]
        read = slide.read((0, 0), (WIDTH // 2, HEIGHT // 2), 2)
        np.testing.assert_array_equal(read, HALF)


def test_two_slides_of_equal_size_are_refused(tmp_path):
    path = tmp_path / "a.tif"
    write_pages(path, [(tissue(SIZE, (100, 80, 500, 400)), AT), (tissue(SIZE, (9, 9, 99, 99)), AT)])
    with pytest.raises(HolohistoError, match="2 pages"):
        Slide(path)
