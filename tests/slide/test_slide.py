"""Positions, reductions, resolution and background of a slide."""

import shutil

import numpy as np
import pytest
from slide_files import SIZE, brute_mean, noise, write_levels, write_ome

from holohisto.runtime.arithmetic import ceil_div
from holohisto.slide import Slide
from holohisto.slide.resample import block_means

WIDTH, HEIGHT = SIZE


def test_outside_is_the_background_on_every_side(tmp_path):
    pixels = noise()
    write_levels(tmp_path / "a.tif", [pixels])
    with Slide(tmp_path / "a.tif", background=(1, 2, 3)) as slide:
        read = slide.read((-30, -20), (WIDTH + 70, HEIGHT + 50))
        nothing = slide.read((WIDTH + 500, 0), (9, 4))
    expected = np.full((HEIGHT + 50, WIDTH + 70, 3), (1, 2, 3), np.uint8)
    expected[20 : 20 + HEIGHT, 30 : 30 + WIDTH] = pixels
    np.testing.assert_array_equal(read, expected)
    assert (nothing == (1, 2, 3)).all()
    assert nothing.shape == (4, 9, 3)


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_reduction_from_level_0_is_the_mean_over_padded_background(tmp_path, factor):
    pixels = noise()
    write_levels(tmp_path / "a.tif", [pixels])
    width, height = ceil_div(WIDTH, factor), ceil_div(HEIGHT, factor)
    padded = np.full((height * factor, width * factor, 3), (250, 240, 230), np.uint8)
    padded[:HEIGHT, :WIDTH] = pixels
    with Slide(tmp_path / "a.tif", background=(250, 240, 230)) as slide:
        whole = slide.read((0, 0), (width, height), factor)
        part = slide.read((20 * factor, 11 * factor), (33, 21), factor)
    np.testing.assert_array_equal(whole, brute_mean(padded, factor))
    np.testing.assert_array_equal(part, whole[11:32, 20:53])


def test_large_reductions_read_in_parts_are_the_same(tmp_path, monkeypatch):
    write_levels(tmp_path / "a.tif", [noise()])
    with Slide(tmp_path / "a.tif") as slide:
        whole = slide.read((0, 0), (180, 131), 4)
        monkeypatch.setattr("holohisto.slide.slide.SOURCE_SIDE", 60)
        np.testing.assert_array_equal(slide.read((0, 0), (180, 131), 4), whole)


def test_means_are_rounded_half_up():
    pixels = np.array([[0, 1], [0, 1]], np.uint8)[..., None]
    assert block_means(pixels, 2).item() == 1  # 0.5
    white = np.full((100, 50, 3), 255, np.uint8)
    assert (block_means(white, 50) == 255).all()  # sums beyond 16 bits


@pytest.mark.parametrize("write", [write_levels, write_ome])
def test_the_largest_level_that_divides_the_factor_is_read(tmp_path, write):
    levels = [noise(), noise((358, 261), seed=1), noise((89, 65), seed=2)]
    write(tmp_path / "a.tif", levels)
    with Slide(tmp_path / "a.tif", background=(0, 0, 0)) as slide:
        assert slide.levels == [SIZE, (358, 261), (89, 65)]
        np.testing.assert_array_equal(slide.read((40, 60), (90, 70), 2), levels[1][30:100, 20:110])
        np.testing.assert_array_equal(
            slide.read((40, 60), (50, 40), 4), brute_mean(levels[1][30:110, 20:120], 2)
        )
        np.testing.assert_array_equal(slide.read((40, 64), (7, 9), 8), levels[2][8:17, 5:12])
        np.testing.assert_array_equal(
            slide.read((30, 60), (20, 10), 3), brute_mean(levels[0][60:90, 30:90], 3)
        )


def test_a_level_of_uneven_downsample_is_read_at_the_right_pixel_everywhere(tmp_path):
    size = (2897, 2311)  # 724 and 577 at a quarter: cuCIM's downsample is 4.0033
    level = noise((724, 577), seed=3)
    write_levels(tmp_path / "a.tif", [np.zeros((size[1], size[0], 3), np.uint8), level])
    rng = np.random.default_rng(0)
    with Slide(tmp_path / "a.tif") as slide:
        assert slide.reader == "cucim"
        for x, y in zip(rng.integers(0, 700, 60), rng.integers(0, 560, 60), strict=True):
            read = slide.read((4 * int(x), 4 * int(y)), (20, 15), 4)
            np.testing.assert_array_equal(read, level[y : y + 15, x : x + 20])


def test_a_level_that_is_no_whole_reduction_is_left_alone(tmp_path):
    pixels = noise()
    write_levels(tmp_path / "a.tif", [pixels, noise((340, 250), seed=1)])
    with Slide(tmp_path / "a.tif") as slide:
        np.testing.assert_array_equal(
            slide.read((0, 0), (300, 200), 2), brute_mean(pixels[:400, :600], 2)
        )


@pytest.mark.parametrize(
    ("resolution", "unit", "mpp"),
    [
        ((20000, 20000), "CENTIMETER", 0.5),
        ((101600, 101600), "INCH", 0.25),
        ((72, 72), "INCH", None),
        ((28.35, 28.35), "CENTIMETER", None),
        ((20000, 20000), "NONE", None),
        ((1, 1), "INCH", None),
    ],
)
def test_mpp_from_tags_and_nonsense_is_absent(tmp_path, resolution, unit, mpp):
    write_levels(tmp_path / "a.tif", [noise()], resolution=resolution, resolutionunit=unit)
    with Slide(tmp_path / "a.tif") as slide:
        assert slide.mpp == (mpp if mpp is None else pytest.approx(mpp))
        assert slide.mpp_source == ("tags" if mpp else None)


def test_mpp_given_wins_over_the_header(tmp_path):
    write_ome(tmp_path / "a.ome.tif", [noise()], mpp=0.37)
    with Slide(tmp_path / "a.ome.tif") as slide:
        assert (slide.mpp, slide.mpp_source) == (pytest.approx(0.37), "header")
    with Slide(tmp_path / "a.ome.tif", mpp=0.4) as slide:
        assert (slide.mpp, slide.mpp_source) == (0.4, "sheet")
        assert slide.header_mpp == pytest.approx((0.37, 0.37))


def bordered(colour):
    pixels = noise(top=150)
    pixels[..., 0] += 60
    for edge in (np.s_[:60], np.s_[-60:], np.s_[:, :60], np.s_[:, -60:]):
        pixels[edge] = colour
    return pixels


@pytest.mark.parametrize(
    ("pixels", "colour"),
    [
        (bordered((243, 241, 244)), (243, 241, 244)),
        (bordered((0, 0, 0)), (0, 0, 0)),
        (bordered((180, 90, 140)), (255, 255, 255)),
    ],
    ids=["glass", "blacked out", "tissue to the edge"],
)
def test_background_is_estimated_from_the_borders(tmp_path, pixels, colour):
    write_levels(tmp_path / "a.tif", [pixels])
    with Slide(tmp_path / "a.tif") as slide:
        assert slide.background == colour


def test_overview_fits_and_tells_its_scale(tmp_path):
    pixels = noise()
    write_levels(tmp_path / "a.tif", [pixels])
    with Slide(tmp_path / "a.tif", background=(0, 0, 0)) as slide:
        picture, scale = slide.overview(100)
        assert (picture.shape, scale) == ((66, 90, 3), 8.0)
        np.testing.assert_array_equal(picture[:65, :89], brute_mean(pixels, 8))


def test_fingerprint_is_of_the_content(tmp_path):
    path, copy = tmp_path / "a.tif", tmp_path / "elsewhere.tif"
    write_levels(path, [noise()])
    shutil.copy(path, copy)
    write_levels(tmp_path / "b.tif", [noise(seed=9)])
    with Slide(path) as a, Slide(copy) as same, Slide(tmp_path / "b.tif") as other:
        assert a.fingerprint == same.fingerprint != other.fingerprint
