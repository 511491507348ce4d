import numpy as np
import pytest
from slide_files import noise

from holohisto import foreground
from holohisto.check import inspect
from holohisto.config import CheckOptions, ForegroundOptions
from holohisto.grid import Tile
from holohisto.pyramid import write_slide_pyramid
from holohisto.tissue import Tissue

SIZE = (1437, 971)
ALL = Tile(-32, -48, 1600, 1120)


@pytest.fixture
def tissue_of(tmp_path):
    """Opens a slide with one piece of tissue and a given colour, or two, around it."""

    def made(outer, inner):
        y, x = np.mgrid[: SIZE[1], : SIZE[0]]
        away = np.hypot(x - 700, y - 450)
        pixels = np.full((SIZE[1], SIZE[0], 3), outer, np.uint8)
        pixels[away < 400] = inner
        pink = (np.array([190, 90, 150]) + noise(SIZE) % 30).astype(np.uint8)
        pixels[away < 330] = pink[away < 330]
        path = tmp_path / "a.tif"
        write_slide_pyramid(path, pixels, 0.5, 75)
        record = inspect("s", path, None, None, CheckOptions())
        slide = record.open(path)
        found = foreground.find(slide, record, ForegroundOptions(), None)
        return Tissue(slide, record.factor, found), pixels, away

    return made


def inside(rgb):
    """The part of ALL that is the slide."""
    return rgb[32 : 32 + SIZE[1], 48 : 48 + SIZE[0]]


@pytest.mark.parametrize("surround", [(243, 240, 244), (255, 255, 255), (1, 0, 2)])
def test_tissue_is_as_it_is_and_all_else_white_on_any_slide(tissue_of, surround):
    glass = (243, 240, 244)
    tissue, _, away = tissue_of(surround, glass)
    rgb = tissue.read(ALL)
    assert rgb.shape == (1120, 1600, 3)
    as_read = tissue.slide.read((ALL.x, ALL.y), (ALL.width, ALL.height))
    np.testing.assert_array_equal(inside(rgb)[away < 330], inside(as_read)[away < 330])
    assert (inside(rgb)[away > 480] == 255).all()
    assert (rgb[:32] == 255).all()
    assert (rgb[:, 48 + SIZE[0] :] == 255).all()


def test_no_black_is_left_where_the_surround_touches_tissue(tissue_of):
    tissue, _, away = tissue_of((0, 0, 0), (0, 0, 0))
    rgb = inside(tissue.read(ALL))
    assert (inside(tissue.slide.read((ALL.x, ALL.y), (1600, 1120)))[away > 345] < 40).all()
    assert (rgb[away > 345] == 255).all()
    assert rgb[away < 325].max() < 255


def test_dark_pixels_of_tissue_stay_where_the_surround_is_not_black(tissue_of):
    tissue, pixels, _ = tissue_of((250, 250, 250), (250, 250, 250))
    pixels[440:460, 690:710] = 5
    write_slide_pyramid(tissue.slide.path, pixels, 0.5, 95)
    record = inspect("s", tissue.slide.path, None, None, CheckOptions())
    with record.open(tissue.slide.path) as slide:
        rgb = Tissue(slide, record.factor, tissue.foreground).read(Tile(445, 695, 10, 10))
    assert (rgb < 30).all()


def test_any_tile_is_a_slice_of_what_is_read(tissue_of):
    tissue, _, _ = tissue_of((0, 0, 0), (243, 243, 243))
    whole = tissue.read(ALL)
    part = tissue.read(Tile(101, 203, 517, 333))
    np.testing.assert_array_equal(part, whole[133 : 133 + 333, 251 : 251 + 517])
