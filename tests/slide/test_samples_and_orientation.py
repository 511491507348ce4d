"""Fourth samples, orientation tags, and pictures that are not brightfield."""

import numpy as np
import pytest
import tifffile
from PIL import Image
from slide_files import SIZE, noise, tissue, write_levels, write_png

from holohisto.config.sections import CheckOptions
from holohisto.errors import HolohistoError
from holohisto.slide import Slide
from holohisto.slide.pictures import picture_size
from holohisto.slide.record import inspect

PIXELS = tissue(SIZE, (100, 80, 500, 400))
LAYOUTS = [{}, {"tile": None, "rowsperstrip": 64}]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("sample", ["zeros", "noise"])
def test_a_fourth_sample_that_is_no_alpha_is_left_out(tmp_path, layout, sample):
    extra = noise(channels=1) if sample == "noise" else np.zeros((*SIZE[::-1], 1), np.uint8)
    pixels = np.concatenate([PIXELS, extra], axis=2)
    write_levels(tmp_path / "a.tif", [pixels], extrasamples=["unspecified"], **layout)
    with Slide(tmp_path / "a.tif") as slide:
        np.testing.assert_array_equal(slide.read((0, 0), SIZE), PIXELS)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_associated_alpha_is_taken_out_of_the_colours(tmp_path, layout):
    alpha = np.full((*SIZE[::-1], 1), 255, np.uint8)
    alpha[:, 300:], alpha[:, 600:] = 128, 0
    stored = (PIXELS.astype(int) * alpha // 255).astype(np.uint8)
    pixels = np.concatenate([stored, alpha], axis=2)
    write_levels(tmp_path / "a.tif", [pixels], extrasamples=["assocalpha"], **layout)
    share = alpha / 255
    wanted = PIXELS * share + 243 * (1 - share)
    with Slide(tmp_path / "a.tif", background=(243, 243, 243)) as slide:
        assert np.abs(slide.read((0, 0), SIZE) - wanted).max() <= 2


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("turned", [3, 6, 8])
def test_a_turned_tiff_is_refused_as_slide_and_as_mask(tmp_path, layout, turned):
    path = tmp_path / "a.tif"
    write_levels(path, [PIXELS], extratags=[(274, 3, 1, turned, True)], **layout)
    for read in (Slide, picture_size):
        with pytest.raises(HolohistoError, match=f"turned.*orientation {turned}.*save it upright"):
            read(path)


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_a_turned_photograph_is_refused_as_slide_and_as_mask(tmp_path, name):
    exif = Image.Exif()
    exif[274] = 6
    write_png(tmp_path / name, PIXELS, exif=exif)
    for read in (Slide, picture_size):
        with pytest.raises(HolohistoError, match="orientation 6"):
            read(tmp_path / name)
    exif[274] = 1
    write_png(tmp_path / name, PIXELS, exif=exif)
    with Slide(tmp_path / name) as slide:
        assert slide.size == picture_size(tmp_path / name) == SIZE


def test_the_size_of_a_mask_is_read_without_decoding_it(tmp_path, monkeypatch):
    write_png(tmp_path / "a.png", PIXELS)
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", lambda self: pytest.fail("decoded"))
    assert picture_size(tmp_path / "a.png") == SIZE


def test_fluorescence_and_inverted_colours_are_warned_of_and_a_black_surround_is_not(tmp_path):
    green = tissue(SIZE, (100, 80, 500, 400), (10, 120, 30), (8, 8, 8))
    surround = tissue(SIZE, (100, 80, 500, 400), around=(0, 0, 0))
    surround[150:200, 200:260] = 240  # a lumen
    for pixels, warned in ((green, True), (255 - PIXELS, True), (surround, False), (PIXELS, False)):
        tifffile.imwrite(tmp_path / "a.tif", pixels, tile=(128, 128), photometric="rgb")
        record = inspect("s1", tmp_path / "a.tif", None, 0.5, CheckOptions())
        assert any("fluorescence" in warning for warning in record.warnings) == warned
