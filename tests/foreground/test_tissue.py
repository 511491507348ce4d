from dataclasses import replace

import numpy as np
import pytest
import tifffile
from scipy.ndimage import gaussian_filter
from slide_files import noise

from holohisto.config.sections import CheckOptions, ForegroundOptions
from holohisto.foreground.map import find_foreground
from holohisto.foreground.tissue import DENSITY, LEAST, MOST, Tissue
from holohisto.pyramid.write import write_slide_pyramid
from holohisto.slide import Slide
from holohisto.slide.record import inspect
from holohisto.tiles.grid import Tile

SIZE = (1437, 971)
ALL = Tile(-32, -48, 1600, 1120)


@pytest.fixture
def tissue_of(tmp_path):
    """Opens a slide with one piece of tissue and a given colour, or two, around it."""

    def made(outer, inner, stain=(1.0, 1.0, 1.0)):
        y, x = np.mgrid[: SIZE[1], : SIZE[0]]
        away = np.hypot(x - 700, y - 450)
        pixels = np.full((SIZE[1], SIZE[0], 3), outer, np.uint8)
        pixels[away < 400] = inner
        pink = np.array([190, 90, 150]) + noise(SIZE) % 30
        pink = (256 * (pink / 256) ** np.array(stain)).astype(np.uint8)
        pixels[away < 330] = pink[away < 330]
        path = tmp_path / "a.tif"
        write_slide_pyramid(path, pixels, 0.5, 75)
        record = inspect("s", path, None, None, CheckOptions())
        slide = record.open(path)
        found = find_foreground(slide, record, ForegroundOptions(), None)
        return Tissue(slide, record.factor, found), pixels, away

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
def test_any_stain_is_brought_to_the_same_density(tissue_of, stain, glass):
    tissue, _, away = tissue_of(glass, glass, stain)
    found = densities(inside(tissue.read(ALL))[away < 320])
    found = np.median(found, axis=0)
    np.testing.assert_allclose(found, DENSITY, rtol=0.1)  # measured on a smaller JPEG level


def test_densities_are_scaled_against_the_glass(tissue_of):
    glass = (243, 240, 244)
    tissue, _, away = tissue_of(glass, glass)
    as_read = inside(tissue.slide.read((ALL.x, ALL.y), (ALL.width, ALL.height)))[away < 330]
    seen = inside(tissue.read(ALL))[away < 330]
    scale = np.array(DENSITY) / tissue.foreground.density
    against_glass = np.log((np.array(tissue.slide.background) + 1) / (as_read.astype(float) + 1))
    expected = 256 * np.exp(-scale * np.maximum(against_glass, 0)) - 1
    np.testing.assert_allclose(seen, np.clip(expected, 0, 255), atol=0.51)


def test_a_foreground_without_density_leaves_tissue_as_it_is(tissue_of):
    tissue, _, away = tissue_of((255, 255, 255), (255, 255, 255))
    plain = Tissue(tissue.slide, 1, replace(tissue.foreground, density=None))
    as_read = tissue.slide.read((ALL.x, ALL.y), (ALL.width, ALL.height))
    np.testing.assert_array_equal(inside(plain.read(ALL))[away < 330], inside(as_read)[away < 330])


def test_a_stain_beyond_all_is_changed_so_far_and_no_further(tissue_of):
    tissue, _, away = tissue_of((255, 255, 255), (255, 255, 255))
    pale = Tissue(tissue.slide, 1, replace(tissue.foreground, density=(1e-4, 9.0, 0.2)))
    before = densities(inside(tissue.slide.read((ALL.x, ALL.y), (1600, 1120)))[away < 320])
    after = densities(inside(pale.read(ALL))[away < 320])
    assert after[:, 0].mean() / before[:, 0].mean() == pytest.approx(MOST, rel=0.02)
    assert after[:, 1].mean() / before[:, 1].mean() == pytest.approx(LEAST, rel=0.02)


def test_no_black_is_left_where_the_surround_touches_tissue(tissue_of):
    tissue, _, away = tissue_of((0, 0, 0), (0, 0, 0))
    rgb = inside(tissue.read(ALL))
    assert (inside(tissue.slide.read((ALL.x, ALL.y), (1600, 1120)))[away > 345] < 40).all()
    assert (rgb[away > 345] == 255).all()
    assert rgb[away < 325].max() < 255


def test_no_dark_line_is_left_where_the_surround_touches_glass(tissue_of):
    tissue, pixels, away = tissue_of((0, 0, 0), (243, 240, 244))
    pixels[away > 345] = 0
    for channel in range(3):  # as reductions blend it
        pixels[..., channel][away > 338] = gaussian_filter(pixels[..., channel], 1)[away > 338]
    write_slide_pyramid(tissue.slide.path, pixels, 0.5, 95)
    with Slide(tissue.slide.path, background=(0, 0, 0)) as slide:
        as_read = inside(slide.read((ALL.x, ALL.y), (ALL.width, ALL.height)))
        rgb = inside(Tissue(slide, 1, tissue.foreground).read(ALL))
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
        plain = replace(tissue.foreground, density=None)
        rgb = Tissue(slide, 1, plain).read(Tile(430, 690, 21, 23))
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
        as_it_is = replace(tissue.foreground, density=None)
        rgb = Tissue(slide, record.factor, as_it_is).read(Tile(445, 695, 10, 10))
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
