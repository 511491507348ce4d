"""The scale of a slide of any resolution, and which slides are too coarse."""

from fractions import Fraction

import numpy as np
import pytest
from slide_files import write_levels, write_ome

from holohisto.config.sections import CheckOptions
from holohisto.errors import HolohistoError
from holohisto.slide import Slide
from holohisto.slide.array import ArraySlide
from holohisto.slide.record import record_of
from holohisto.slide.resolution import working_scale

PIXELS = np.full((211, 333, 3), 230, np.uint8)


def step(mpp, **options):
    scale = working_scale("x", (mpp, mpp), CheckOptions(**options))
    assert scale.x == scale.y
    return scale.x


WHOLE = [(0.5, 1), (0.499, 1), (0.25, 2), (0.2501, 2), (0.05, 10)]
FRACTIONS = [
    (0.325, "20/13"),
    (0.44, "25/22"),
    (0.2325, "200/93"),
    (0.172, "125/43"),
    (0.252, "125/63"),
    (0.55, "10/11"),
    (0.6, "5/6"),
]


@pytest.mark.parametrize(("mpp", "expected"), [*WHOLE, *FRACTIONS])
def test_every_slide_is_brought_to_the_working_resolution(mpp, expected):
    assert step(mpp) == Fraction(expected)
    assert mpp * float(step(mpp)) == pytest.approx(0.5, rel=0.005)
    if Fraction(expected).denominator > 1:
        assert mpp * float(step(mpp)) == pytest.approx(0.5, rel=1e-12)


def test_without_tolerance_the_working_resolution_is_exact():
    assert step(0.499, mpp_tolerance=0) == Fraction(500, 499)
    assert step(0.2527, mpp_tolerance=0.02) == 2
    many_digits = step(0.2431234567)
    assert many_digits.denominator <= 10_000
    assert 0.2431234567 * float(many_digits) == pytest.approx(0.5, rel=1e-5)


@pytest.mark.parametrize("mpp", [(0.63, 0.63), (0.5, 1.0), (1.0, 0.5)])
def test_a_slide_that_is_too_coarse_is_refused_in_one_line(mpp):
    advice = rf"0\.625, 1\.25 times.*`check\.mpp: {max(mpp):g}`.*column `mpp`"
    with pytest.raises(HolohistoError, match=advice):
        working_scale("x", mpp, CheckOptions())


def test_enlarged_slides_and_oblong_pixels_are_warned_of():
    def record(*mpp):
        return record_of("s", ArraySlide(PIXELS, mpp=mpp), mpp, None, CheckOptions())

    assert record(0.25, 0.25).warnings == record(0.44, 0.44).warnings == []
    (warning,) = record(0.55, 0.55).warnings
    assert "0.55 um per pixel are enlarged to 0.5" in warning
    oblong = record(0.5, 0.25)
    assert oblong.warnings == [
        "pixels are not square: 0.5 x 0.25 um; both sides are brought to mpp"
    ]
    assert (oblong.scale.texts, oblong.working_size) == (["1", "2"], (333, 106))
    assert (oblong.mpp, oblong.mpp_y, oblong.working_mpp) == (0.5, 0.25, 0.5)
    assert record(0.44, 0.44).working_mpp == pytest.approx(0.5, rel=1e-12)


def test_resolutions_along_x_and_y_are_read_from_tags_and_headers(tmp_path):
    write_levels(
        tmp_path / "a.tif", [PIXELS], resolution=(20_000, 40_000), resolutionunit="CENTIMETER"
    )
    write_ome(tmp_path / "b.ome.tif", [PIXELS], mpp=0.5, mpp_y=0.25)
    for name in ("a.tif", "b.ome.tif"):
        with Slide(tmp_path / name) as slide:
            assert (slide.mpp, slide.mpp_y) == (pytest.approx(0.5), pytest.approx(0.25))
            assert slide.header_mpp == (slide.mpp, slide.mpp_y)


def test_sides_that_differ_by_rounding_are_square(tmp_path):
    write_levels(
        tmp_path / "a.tif", [PIXELS], resolution=(40_000, 39_960), resolutionunit="CENTIMETER"
    )
    with Slide(tmp_path / "a.tif") as slide:
        assert slide.mpp == slide.mpp_y == pytest.approx(0.250125, rel=1e-6)
