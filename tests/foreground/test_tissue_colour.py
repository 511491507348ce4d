"""The colour of a slide's tissue."""

import numpy as np
import pytest
from slide_files import noise

from holohisto.config.sections import CheckOptions, ForegroundOptions
from holohisto.foreground.colour import DARKEST, colour_of, stained_cells
from holohisto.foreground.map import Foreground, find_foreground, load_foreground, save_foreground
from holohisto.slide.array import ArraySlide
from holohisto.slide.record import record_of
from holohisto.slide.scale import Scale
from holohisto.tiles.colour import COMMON

SIZE = (437, 331)
SHAPE = (21, 28)  # cells of 16 px
WHITE = (255, 255, 255)


def drawn(glass=WHITE, box=(80, 64, 352, 272)):
    """Glass with tissue whose density has a known mean and correlated channels."""
    left, top, right, bottom = box
    random = np.random.default_rng(2)
    mixing = np.array([[0.1, 0.08, 0.0], [0.0, 0.12, 0.05], [0.0, 0.0, 0.06]])
    deviation = np.clip(random.normal(size=(bottom - top, right - left, 3)), -2, 2) @ mixing
    rgb = np.full((SIZE[1], SIZE[0], 3), glass, np.uint8)
    light = (np.array(glass) + 1) * np.exp(
        -np.maximum(np.array([0.5, 1.0, 0.7]) + deviation, 0)
    ) - 1
    rgb[top:bottom, left:right] = np.rint(light)
    return rgb


def densities(rgb, glass=WHITE):
    return np.log((np.array(glass) + 1) / (rgb.reshape(-1, 3).astype(float) + 1))


def cells(*places):
    mask = np.zeros(SHAPE, bool)
    for place in places:
        mask[place] = True
    return mask


@pytest.mark.parametrize("glass", [WHITE, (243, 240, 244)])
def test_it_is_mean_and_covariance_of_the_density_against_the_glass(glass):
    rgb = drawn(glass)
    stained = np.zeros(SHAPE, bool)
    stained[4:17, 5:22] = True
    found = colour_of(ArraySlide(rgb, mpp=0.5), Scale.whole(1), stained, 16, glass)
    expected = densities(rgb[64:272, 80:352], glass)
    np.testing.assert_allclose(found.mean, expected.mean(axis=0), atol=0.003)
    np.testing.assert_allclose(found.covariance, np.cov(expected.T), atol=0.0005)
    assert found.covariance[0][1] == pytest.approx(0.1 * 0.08, abs=0.002)  # they are correlated


def test_only_stained_cells_count():
    rgb = drawn()
    found = colour_of(ArraySlide(rgb, mpp=0.5), Scale.whole(1), cells((6, 9), (14, 20)), 16, WHITE)
    values = np.concatenate([densities(rgb[96:112, 144:160]), densities(rgb[224:240, 320:336])])
    np.testing.assert_allclose(found.mean, values.mean(axis=0))
    np.testing.assert_allclose(found.covariance, np.cov(values.T))
    assert colour_of(ArraySlide(rgb, mpp=0.5), Scale.whole(1), cells(), 16, WHITE) is None


def test_it_is_measured_at_working_resolution():
    rgb = np.kron(drawn(), np.ones((2, 2, 1), np.uint8))
    double, single = ArraySlide(rgb, mpp=0.25), ArraySlide(drawn(), mpp=0.5)
    stained = cells((6, 9), (14, 20))
    assert colour_of(double, Scale.whole(2), stained, 16, WHITE) == colour_of(
        single, Scale.whole(1), stained, 16, WHITE
    )


def test_pen_counts_no_more_than_the_darkest_density():
    rgb = drawn()
    rgb[96:100, 144:160] = 0
    found = colour_of(ArraySlide(rgb, mpp=0.5), Scale.whole(1), cells((6, 9)), 16, WHITE)
    values = np.minimum(densities(rgb[96:112, 144:160]), DARKEST)
    assert (values[:64] == 2.5).all()
    np.testing.assert_allclose(found.mean, values.mean(axis=0))


def test_a_black_surround_does_not_count():
    rgb = drawn((2, 1, 3), box=(80, 64, 352, 272))
    rgb[64:272, 80:352] = drawn()[64:272, 80:352]
    rgb[96:100, 144:160] = (39, 12, 40)
    found = colour_of(ArraySlide(rgb, mpp=0.5), Scale.whole(1), cells((6, 9)), 16, (2, 1, 3))
    values = densities(rgb[102:112, 144:160])  # two rows beside black are blended with it
    np.testing.assert_allclose(found.mean, values.mean(axis=0))
    np.testing.assert_allclose(found.covariance, np.cov(values.T))


def test_stained_cells_are_those_of_the_tissue_that_are_saturated():
    rgb = np.array([[(250, 250, 250), (200, 120, 170), (210, 200, 205), (200, 120, 170)]], np.uint8)
    mask = np.array([[True, True, True, False]])
    np.testing.assert_array_equal(
        stained_cells(rgb, mask, 0.1, WHITE), [[False, True, False, False]]
    )


def found_in(rgb, **options):
    slide = ArraySlide(rgb, mpp=0.5)
    record = record_of("s", slide, 0.5, None, CheckOptions())
    return find_foreground(slide, record, ForegroundOptions(**options), None), record


@pytest.mark.parametrize("common_stain", [True, False])
def test_the_map_keeps_the_colour_if_there_is_a_common_stain(tmp_path, common_stain):
    found, record = found_in(drawn(), common_stain=common_stain)
    save_foreground(tmp_path / "f.tif", found, record)
    loaded = load_foreground(tmp_path / "f.tif", record)
    assert loaded.colour == found.colour
    if not common_stain:
        assert found.colour is None
        assert found.common_colour == COMMON
        return
    expected = densities(drawn()[64:272, 80:352])
    np.testing.assert_allclose(found.colour.mean, expected.mean(axis=0), atol=0.003)
    assert found.common_colour.mean == COMMON.mean
    np.testing.assert_allclose(found.common_colour.spread, COMMON.spread)
    own = np.array(found.colour.covariance) / np.outer(found.colour.spread, found.colour.spread)
    common = np.array(found.common_colour.covariance) / np.outer(COMMON.spread, COMMON.spread)
    np.testing.assert_allclose(common, own)


def test_holes_that_are_filled_do_not_count():
    rgb = drawn()
    rgb[160:208, 160:208] = 255
    found, _ = found_in(rgb)
    assert found.mask[11, 11]
    outside = np.ones(rgb.shape[:2], bool)
    outside[160:208, 160:208] = False
    outside[:64] = outside[272:] = outside[:, :80] = outside[:, 352:] = False
    np.testing.assert_allclose(found.colour.mean, densities(rgb[outside]).mean(axis=0), atol=0.02)


def test_a_foreground_of_noise_on_any_side_is_read():
    slide = ArraySlide(noise(SIZE), mpp=0.5)
    found = colour_of(slide, Scale.whole(1), np.ones(SHAPE, bool), 16, WHITE)
    assert Foreground(np.ones(SHAPE, bool), 16, 0.1, found).common_colour.mean == COMMON.mean
