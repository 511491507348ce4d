"""Resampling by any factor: exact means of areas, the same in tiles of any size and place."""

from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest
from slide_files import noise, write_levels

from holohisto.slide import Slide
from holohisto.slide.array import ArraySlide
from holohisto.slide.resample import Side, area_means, block_means
from holohisto.slide.scale import Scale

GLASS = (243, 240, 238)
SCALES = {
    "0.325": Scale(Fraction(20, 13), Fraction(20, 13)),
    "0.44": Scale(Fraction(25, 22), Fraction(25, 22)),
    "0.2325": Scale(Fraction(200, 93), Fraction(200, 93)),
    "0.55": Scale(Fraction(10, 11), Fraction(10, 11)),
    "0.5 x 0.25": Scale(Fraction(1), Fraction(2)),
    "oblong": Scale(Fraction(9973, 4099), Fraction(3, 2)),  # sums beyond 32 bits
}
by_scale = pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)


def slide(height=131, width=173):
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3)).astype(np.uint8)
    return ArraySlide(pixels, mpp=0.3, background=GLASS), pixels


def weights(step, count, length):
    """Share of each source pixel in each pixel of the result, as exact fractions."""
    matrix = [[Fraction(0)] * length for _ in range(count)]
    for i in range(count):
        for j in range(length):
            covered = min((i + 1) * step, Fraction(j + 1)) - max(i * step, Fraction(j))
            matrix[i][j] = max(Fraction(0), covered) / step
    return matrix


def brute_means(pixels, scale, fill=GLASS):
    """Means of areas in exact fractions, rounded half up; glass beyond the borders."""
    width, height = scale.working_size(pixels.shape[1::-1])
    sides = [
        -(-count * step.numerator // step.denominator)
        for count, step in zip((height, width), (scale.y, scale.x), strict=True)
    ]
    padded = np.full((*sides, 3), fill, object)
    padded[: pixels.shape[0], : pixels.shape[1]] = pixels.astype(object)
    down = np.array(weights(scale.y, height, sides[0]), object)
    across = np.array(weights(scale.x, width, sides[1]), object)
    rows = np.stack([down.dot(padded[..., channel]).dot(across.T) for channel in range(3)], axis=2)
    return np.vectorize(lambda mean: int(mean + Fraction(1, 2)))(rows).astype(np.uint8)


@by_scale
def test_a_pixel_is_the_exact_mean_of_the_area_that_it_covers(scale):
    opened, pixels = slide(31, 43)
    size = scale.working_size((43, 31))
    np.testing.assert_array_equal(opened.resampled((0, 0), size, scale), brute_means(pixels, scale))


@by_scale
@pytest.mark.parametrize("side", [2048, 50])
def test_tiles_of_any_size_at_any_place_have_the_same_pixels(scale, side, monkeypatch):
    monkeypatch.setattr("holohisto.slide.slide.SOURCE_SIDE", side)
    opened, _ = slide()
    width, height = scale.working_size(opened.size)
    around = 20
    whole = opened.resampled((-around, -around), (width + 2 * around, height + 2 * around), scale)
    assert (whole[:around] == GLASS).all()
    assert (whole[:, -around:] == GLASS).all()
    random = np.random.default_rng(1)

    ends = [
        np.sort(random.integers(-around, length + around, (60, 2))) for length in (width, height)
    ]

    def agrees(columns, rows):
        (left, right), (top, bottom) = columns, rows
        part = opened.resampled((int(left), int(top)), (right - left + 1, bottom - top + 1), scale)
        expected = whole[top + around : bottom + around + 1, left + around : right + around + 1]
        return np.array_equal(part, expected)

    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(agrees, *ends))


def test_whole_factors_are_read_as_before():
    opened, pixels = slide()
    for factor in (1, 2, 3, 5):
        size = (opened.size[0] // factor, opened.size[1] // factor)
        expected = opened.read((0, 0), size, factor)
        np.testing.assert_array_equal(opened.resampled((0, 0), size, Scale.whole(factor)), expected)
        sides = [Side(Fraction(factor), 0, count) for count in size]
        cut = pixels[: size[1] * factor, : size[0] * factor]
        np.testing.assert_array_equal(area_means(cut, *sides), block_means(cut, factor))


def test_an_oblong_whole_scale_averages_along_one_side_only():
    opened, pixels = slide()
    found = opened.resampled((0, 0), (173, 65), SCALES["0.5 x 0.25"]).astype(int)
    sums = pixels[:130:2].astype(int) + pixels[1:130:2]
    np.testing.assert_array_equal(found, (sums + 1) // 2)


@pytest.mark.parametrize(
    ("scale", "level"), [("43/10", 2), ("4", 2), ("39/10", 1), ("2", 1), ("19/10", 0)]
)
def test_the_coarsest_level_that_is_not_coarser_is_read(tmp_path, scale, level):
    pixels = noise((640, 480), top=200)
    colours = [pixels, np.full((240, 320, 3), 90, np.uint8), np.full((120, 160, 3), 30, np.uint8)]
    write_levels(tmp_path / "a.tif", colours)
    step = Fraction(scale)
    with Slide(tmp_path / "a.tif", mpp=0.25, background=GLASS) as opened:
        found = opened.resampled((7, 9), (40, 30), Scale(step, step))
    assert (found == (90, 30)[level - 1]).all() if level else found.std() > 0


def test_coarse_and_fine_scans_of_one_pattern_look_alike():
    """A smooth pattern in micrometres, sampled at several resolutions, gives the same picture."""

    def scanned(mpp_x, mpp_y):
        x = (np.arange(round(100 / mpp_x)) + 0.5) * mpp_x
        y = (np.arange(round(80 / mpp_y)) + 0.5) * mpp_y
        wave = 128 + 50 * np.sin(x / 3)[None, :] * np.cos(y / 4)[:, None]
        rgb = np.repeat(np.rint(wave)[..., None], 3, axis=2).astype(np.uint8)
        return ArraySlide(rgb, mpp=(mpp_x, mpp_y), background=GLASS)

    def at_half(mpp_x, mpp_y):
        scale = Scale(*(Fraction("0.5") / Fraction(str(mpp)) for mpp in (mpp_x, mpp_y)))
        return scanned(mpp_x, mpp_y).resampled((0, 0), (196, 156), scale).astype(int)

    reference = at_half(0.125, 0.125)
    for mpp in ((0.25, 0.25), (0.325, 0.325), (0.44, 0.44), (0.5, 0.25), (0.55, 0.55)):
        assert np.abs(at_half(*mpp) - reference).max() <= 4, mpp
