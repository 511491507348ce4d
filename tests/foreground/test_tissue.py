from dataclasses import replace

import numpy as np
import pytest
import tifffile
from scipy.ndimage import gaussian_filter
from slide_files import noise

from holohisto.config.sections import CheckOptions, ForegroundOptions
from holohisto.foreground.map import find_foreground
from holohisto.foreground.tissue import Tissue
from holohisto.pyramid.write import write_slide_pyramid
from holohisto.slide import Slide
from holohisto.slide.array import ArraySlide
from holohisto.slide.record import inspect, record_of
from holohisto.slide.scale import Scale
from holohisto.tiles.colour import COMMON, LEAST_SPREAD, Colour
from holohisto.tiles.grid import Tile

SIZE = (1437, 971)
ALL = Tile(-32, -48, 1600, 1120)


def texture():
    """Squares of 12 px of random colours below 80, (height, width, 3)."""
    small = noise((SIZE[0] // 12 + 1, SIZE[1] // 12 + 1), top=80)
    return np.kron(small, np.ones((12, 12, 1), int))[: SIZE[1], : SIZE[0]]


@pytest.fixture
def tissue_of(tmp_path):
    """Opens a slide with one piece of tissue and a given colour, or two, around it."""

    def made(outer, inner, stain=(1.0, 1.0, 1.0)):
        y, x = np.mgrid[: SIZE[1], : SIZE[0]]
        away = np.hypot(x - 700, y - 450)
        pixels = np.full((SIZE[1], SIZE[0], 3), outer, np.uint8)
        pixels[away < 400] = inner
        pink = texture() + np.array([160, 40, 110])
        pink = (256 * (pink / 256) ** np.array(stain)).astype(np.uint8)
        pixels[away < 330] = pink[away < 330]
        path = tmp_path / "a.tif"
        write_slide_pyramid(path, pixels, 0.5, 75)
        record = inspect("s", path, None, None, CheckOptions())
        slide = record.open(path)
        found = find_foreground(slide, record, ForegroundOptions(), None)
        return Tissue(slide, record.scale, found), pixels, away

    return made


def inside(rgb):
    """The part of ALL that is the slide."""
    return rgb[32 : 32 + SIZE[1], 48 : 48 + SIZE[0]]


@pytest.mark.parametrize("surround", [(243, 240, 244), (255, 255, 255), (1, 0, 2)])
def test_all_but_tissue_is_white_on_any_slide(tissue_of, surround):
    glass = (243, 240, 244)
    tissue, _, away = tissue_of(surround, glass)
    rgb = tissue.read(ALL)
    assert rgb.shape == (1120, 1600, 3)
    assert (inside(rgb)[away > 480] == 255).all()
    assert (rgb[:32] == 255).all()
    assert (rgb[:, 48 + SIZE[0] :] == 255).all()


def densities(rgb):
    return -np.log((rgb.astype(float) + 1) / 256)


@pytest.mark.parametrize("stain", [(0.8, 0.8, 0.8), (1.0, 1.0, 1.0), (1.6, 0.7, 1.2)])
@pytest.mark.parametrize("glass", [(243, 240, 244), (255, 255, 255), (2, 1, 3)])
def test_any_stain_is_brought_to_the_common_mean_and_spread(tissue_of, stain, glass):
    tissue, _, away = tissue_of(glass, glass, stain)
    found = densities(inside(tissue.read(ALL))[away < 320])
    before = densities(inside(tissue.slide.read((ALL.x, ALL.y), (1600, 1120)))[away < 320])
    deviation = (before - before.mean(axis=0)) / before.std(axis=0)
    expected = np.maximum(COMMON.mean + deviation * COMMON.spread, 0)  # white at the most
    assert (expected > 0).mean() > 0.9
    np.testing.assert_allclose(found.mean(axis=0), expected.mean(axis=0), atol=0.02)
    np.testing.assert_allclose(found.std(axis=0), expected.std(axis=0), rtol=0.05)


def test_densities_are_stretched_around_their_mean_against_the_glass(tissue_of):
    glass = (243, 240, 244)
    tissue, _, away = tissue_of(glass, glass)
    as_read = inside(tissue.slide.read((ALL.x, ALL.y), (ALL.width, ALL.height)))[away < 330]
    seen = inside(tissue.read(ALL))[away < 330]
    own = tissue.foreground.colour
    against_glass = np.log((np.array(tissue.slide.background) + 1) / (as_read.astype(float) + 1))
    density, gain = np.maximum(against_glass, 0), COMMON.spread / own.spread
    assert (COMMON.mean < gain * own.mean).all()  # a line all the way
    expected = 256 * np.exp(-(COMMON.mean + (density - own.mean) * gain)) - 1
    np.testing.assert_allclose(seen, np.clip(expected, 0, 255), atol=0.51)


def seen_in_memory(rgb):
    slide = ArraySlide(rgb, mpp=0.5, background=(255, 255, 255))
    record = record_of("s", slide, 0.5, None, CheckOptions())
    found = find_foreground(slide, record, ForegroundOptions(), 0.05)
    assert found.mask.all()
    return Tissue(slide, Scale.whole(1), found).read(Tile(0, 0, *SIZE)).astype(int)


def test_a_slide_of_another_stain_is_seen_as_the_original():
    original = (texture() + np.array([160, 40, 110])).astype(np.uint8)
    density = np.array([1.4, 0.7, 1.2]) * densities(original) + [0.0, 0.1, 0.05]
    restained = np.rint(256 * np.exp(-density) - 1).astype(np.uint8)
    assert (np.abs(original.astype(int) - restained).mean(axis=(0, 1)) > 10).all()
    difference = np.abs(seen_in_memory(original) - seen_in_memory(restained))
    assert difference.max() <= 4  # two roundings, stretched
    assert difference.mean() < 1


def test_a_foreground_without_colour_leaves_tissue_as_it_is(tissue_of):
    tissue, _, away = tissue_of((255, 255, 255), (255, 255, 255))
    plain = Tissue(tissue.slide, Scale.whole(1), replace(tissue.foreground, colour=None))
    as_read = tissue.slide.read((ALL.x, ALL.y), (ALL.width, ALL.height))
    np.testing.assert_array_equal(inside(plain.read(ALL))[away < 330], inside(as_read)[away < 330])


def test_a_tiny_spread_is_not_blown_up(tissue_of):
    tissue, _, away = tissue_of((255, 255, 255), (255, 255, 255))
    before = densities(inside(tissue.slide.read((ALL.x, ALL.y), (1600, 1120)))[away < 320])
    flat = Colour.of(before.mean(axis=0), np.diag([1e-9, 0.0, 1e-4]))
    pale = Tissue(tissue.slide, Scale.whole(1), replace(tissue.foreground, colour=flat))
    after = densities(inside(pale.read(ALL))[away < 320])
    factor = np.array(COMMON.spread) / LEAST_SPREAD
    expected = COMMON.mean + factor * (before - before.mean(axis=0))
    visible = (expected > 0) & (expected < 2)
    assert visible.mean() > 0.3
    np.testing.assert_allclose(after[visible], expected[visible], atol=0.02)


def test_no_black_is_left_where_the_surround_touches_tissue(tissue_of):
    tissue, _, away = tissue_of((0, 0, 0), (0, 0, 0))
    rgb = inside(tissue.read(ALL))
    as_read = inside(tissue.slide.read((ALL.x, ALL.y), (1600, 1120)))
    assert (as_read[away > 345] < 40).all()
    assert (rgb[away > 345] == 255).all()
    own, kept = tissue.foreground.colour, away < 325
    deviation = (densities(as_read[kept]) - own.mean) / own.spread
    stretched = COMMON.mean + deviation * COMMON.spread
    visible = (stretched > 0.01).any(axis=1)
    assert visible.mean() > 0.99
    assert (rgb[kept][visible] < 255).any(axis=1).all()


def test_no_dark_line_is_left_where_the_surround_touches_glass(tissue_of):
    tissue, pixels, away = tissue_of((0, 0, 0), (243, 240, 244))
    pixels[away > 345] = 0
    for channel in range(3):  # as reductions blend it
        pixels[..., channel][away > 338] = gaussian_filter(pixels[..., channel], 1)[away > 338]
    write_slide_pyramid(tissue.slide.path, pixels, 0.5, 95)
    with Slide(tissue.slide.path, background=(0, 0, 0)) as slide:
        as_read = inside(slide.read((ALL.x, ALL.y), (ALL.width, ALL.height)))
        rgb = inside(Tissue(slide, Scale.whole(1), tissue.foreground).read(ALL))
    rim = away > 338
    assert ((as_read[rim] > 60) & (as_read[rim] < 180)).any(axis=1).sum() > 1000
    assert rgb[rim].min() > 200
    assert rgb[away < 325].max(axis=1).min() < 255


def test_a_speck_on_tissue_stays_as_small_as_it_is(tissue_of):
    tissue, pixels, _ = tissue_of((0, 0, 0), (243, 240, 244))
    pixels[300:600, 500:900] = (180, 90, 140)
    pixels[440:442, 700:702] = 0
    raw = tissue.slide.path.with_name("speck.tif")
    tifffile.imwrite(raw, pixels, photometric="rgb", tile=(256, 256))
    with Slide(raw, mpp=0.5, background=(0, 0, 0)) as slide:
        plain = replace(tissue.foreground, colour=None)
        rgb = Tissue(slide, Scale.whole(1), plain).read(Tile(430, 690, 21, 23))
    white = (rgb == 255).all(axis=2)
    assert white[10:12, 10:12].all()
    assert white.sum() == 4
    assert (rgb[~white] == (180, 90, 140)).all()


def test_dark_pixels_of_tissue_stay_where_the_surround_is_not_black(tissue_of):
    tissue, pixels, _ = tissue_of((250, 250, 250), (250, 250, 250))
    pixels[440:460, 690:710] = 5
    write_slide_pyramid(tissue.slide.path, pixels, 0.5, 95)
    record = inspect("s", tissue.slide.path, None, None, CheckOptions())
    with record.open(tissue.slide.path) as slide:
        as_it_is = replace(tissue.foreground, colour=None)
        rgb = Tissue(slide, record.scale, as_it_is).read(Tile(445, 695, 10, 10))
    assert (rgb < 30).all()


@pytest.mark.parametrize("inner", [(243, 243, 243), (0, 0, 0)])
def test_any_tile_is_a_slice_of_what_is_read(tissue_of, inner):
    tissue, _, _ = tissue_of((0, 0, 0), inner)
    whole = tissue.read(ALL)
    rim = [Tile(y, x, 19, 17) for y in range(171, 261, 17) for x in range(421, 521, 19)]
    for tile in (Tile(101, 203, 517, 333), *rim):
        y, x = tile.y - ALL.y, tile.x - ALL.x
        part = whole[y : y + tile.height, x : x + tile.width]
        np.testing.assert_array_equal(tissue.read(tile), part)
