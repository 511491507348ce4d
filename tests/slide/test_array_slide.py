"""A picture in memory gives what its file gives."""

import numpy as np
import pytest
from PIL import Image
from slide_files import noise

from holohisto.config.sections import CheckOptions
from holohisto.slide import Slide
from holohisto.slide.array import ArraySlide
from holohisto.slide.record import record_of


@pytest.fixture
def rgb():
    pixels = noise().copy()
    pixels[:40] = pixels[-40:] = 241  # glass above and below
    return pixels


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_the_same_pixels_background_and_record_as_from_a_file(rgb, tmp_path, factor):
    path = tmp_path / "roi.png"
    Image.fromarray(rgb).save(path)
    with Slide(path, mpp=0.25) as file, ArraySlide(rgb, mpp=0.25) as array:
        assert array.background == file.background == (241, 241, 241)
        for xy, size in (((0, 0), (101, 77)), ((-6 * factor, 12 * factor), (333, 50))):
            expected = file.read(xy, size, factor)
            assert np.array_equal(array.read(xy, size, factor), expected)
        one, other = (
            record_of("s", slide, 0.25, None, CheckOptions(mpp=0.5)) for slide in (file, array)
        )
    same = ("size", "mpp", "levels", "background", "scale", "working_size", "working_mpp")
    assert [getattr(one, name) for name in same] == [getattr(other, name) for name in same]


def test_reading_never_alters_the_array(rgb):
    before = rgb.copy()
    ArraySlide(rgb, mpp=0.5).read((0, 0), (50, 60))[:] = 0
    assert np.array_equal(rgb, before)


def test_other_pixels_have_another_fingerprint(rgb):
    other = rgb.copy()
    other[100, 100, 0] ^= 1
    prints = {ArraySlide(pixels, mpp=0.5).fingerprint for pixels in (rgb, rgb.copy(), other)}
    assert len(prints) == 2


@pytest.mark.parametrize(
    "wrong", [np.zeros((4, 5), np.uint8), np.zeros((4, 5, 3)), np.zeros((0, 5, 3), np.uint8)]
)
def test_what_is_no_picture_is_refused(wrong):
    with pytest.raises(ValueError, match="uint8"):
        ArraySlide(wrong, mpp=0.5)
