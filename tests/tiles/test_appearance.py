from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from holohisto.config.augmentation import Augmentation, ColourAugmentation
from holohisto.tiles.appearance import LEAST_SUM, Appearance, Strength
from holohisto.tiles.colour import COMMON, LEAST_SPREAD, Colour

STRONG = Strength(mixing=0.6, grey=0.25, permutation=0.5)
SWAPPED = ((0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0))
GREY = ((0.2, 0.5, 0.3),) * 3


def noise():
    return np.random.default_rng(0).integers(0, 256, (40, 31, 3), dtype=np.uint8)


def tissue():
    """Correlated densities, far from what is cut off at 0 and 255; (100, 80, 3) uint8."""
    random = np.random.default_rng(1)
    mixing = np.array([[0.08, 0.05, 0.0], [0.03, 0.12, 0.02], [0.0, 0.03, 0.05]])
    return pixels_of([0.45, 0.8, 0.5] + np.clip(random.normal(size=(100, 80, 3)), -2, 2) @ mixing)


def densities(rgb):
    return -np.log((rgb.astype(float) + 1) / 256)


def pixels_of(density):
    return np.clip(np.rint(256 * np.exp(-np.asarray(density)) - 1), 0, 255).astype(np.uint8)


def colour_of(rgb):
    values = densities(rgb).reshape(-1, 3)
    return Colour.of(values.mean(axis=0), np.cov(values.T))


def drawn(strength, seed):
    return Appearance.draw(strength, np.random.default_rng(seed))


def test_no_strength_changes_nothing_not_even_by_rounding():
    same = drawn(Strength(), 0).on(colour_of(tissue()))
    np.testing.assert_array_equal(same.apply(noise()), noise())
    assert same.reach == 0


def test_strength_is_that_of_the_section():
    colour = ColourAugmentation(
        channel_mixing=0.1,
        greyscale_share=0.2,
        permutation_share=0.3,
        stain_jitter=0.4,
        brightness_jitter=0.05,
    )
    expected = Strength(mixing=0.1, grey=0.2, permutation=0.3, stain=0.4, brightness=0.05)
    assert Strength.of(colour) == expected
    with_blur = Augmentation(**colour.model_dump(), blur_sigma=1.5)
    assert Strength.of(with_blur) == replace(expected, blur=1.5)


def test_each_density_is_its_mixture_stretched_around_the_mean_of_the_tissue():
    own = Colour.of((0.2, 0.4, 0.3), [[0.01, 0, 0], [0, 0.04, 0], [0, 0, 0.01]])
    rgb = pixels_of([[[0.3, 0.8, 0.5]]])
    red, green, blue = densities(rgb)[0, 0]
    exact = [0.2 + 0.5 * (green - 0.4), 0.4 + 2 * (red - 0.2), blue]  # spreads 0.1, 0.2, 0.1
    look = Appearance(mixing=SWAPPED, tissue=own)
    np.testing.assert_array_equal(look.apply(rgb), pixels_of([[exact]]))
    contrast, shift, exact = (1.1, 0.8, 1.0), (0.05, 0.0, -0.1), np.array(exact)
    exact += (np.array(contrast) - 1) * (exact - own.mean) + shift
    look = replace(look, contrast=contrast, shift=shift)
    np.testing.assert_array_equal(look.apply(rgb), pixels_of([[exact]]))


@pytest.mark.parametrize("seed", range(12))
def test_any_mixture_keeps_mean_and_spread_of_the_tissue(seed):
    own = colour_of(tissue())
    look = drawn(STRONG, seed).on(own)
    changed = colour_of(look.apply(tissue()))
    np.testing.assert_allclose(changed.mean, own.mean, atol=0.002)
    np.testing.assert_allclose(changed.spread, own.spread, rtol=0.02)
    mixing = np.array(look.mixing)
    mixed = mixing @ np.array(own.covariance) @ mixing.T  # exact up to the stretch
    spread = np.sqrt(np.diag(mixed))
    correlation = np.array(changed.covariance) / np.outer(changed.spread, changed.spread)
    np.testing.assert_allclose(correlation, mixed / np.outer(spread, spread), atol=0.02)


def test_greyscale_has_the_same_deviations_in_all_channels():
    own = colour_of(tissue())
    shares = densities(tissue()) @ GREY[0]
    deviation = (shares - shares.mean()) / shares.std()
    expected = pixels_of(own.mean + deviation[..., None] * own.spread)
    changed = Appearance(mixing=GREY, tissue=own).apply(tissue())
    assert np.abs(changed.astype(int) - expected).max() <= 1


def test_a_permutation_exchanges_the_channels_of_standardised_tissue():
    own = colour_of(tissue())
    deviation = (densities(tissue()) - own.mean) / own.spread
    expected = pixels_of(own.mean + deviation[..., [1, 0, 2]] * own.spread)
    changed = Appearance(mixing=SWAPPED, tissue=own).apply(tissue())
    assert np.abs(changed.astype(int) - expected).max() <= 1


def test_shares_of_grey_and_permuted_tiles_are_those_asked_for():
    strength = Strength(grey=0.25, permutation=0.4)
    mixings = np.array([drawn(strength, seed).mixing for seed in range(400)])
    grey = (mixings == mixings[:, :1]).all(axis=(1, 2))
    assert 0.18 < grey.mean() < 0.32
    permuted = (mixings[~grey] != np.eye(3)).any(axis=(1, 2))
    assert 0.25 < permuted.mean() < 0.42  # a sixth of the permutations changes nothing
    assert set(np.unique(mixings[~grey])) == {0.0, 1.0}


def test_half_of_the_mixtures_are_none_and_shares_are_bounded():
    mixings = np.array([drawn(Strength(mixing=0.35), seed).mixing for seed in range(200)])
    unmixed = (mixings == np.eye(3)).all(axis=(1, 2))
    assert 0.4 < unmixed.mean() < 0.6
    others = mixings[~unmixed] - np.eye(3)
    assert 0.3 < np.abs(others).max() <= 0.35
    assert (mixings.sum(axis=2) >= LEAST_SUM).all()
    wide = np.array([drawn(Strength(mixing=1.0), seed).mixing for seed in range(200)])
    assert (wide.sum(axis=2) >= LEAST_SUM).all()


def test_stain_jitter_is_the_largest_change_of_contrast_and_density():
    looks = [drawn(Strength(stain=0.2), seed) for seed in range(100)]
    contrast = np.array([look.contrast for look in looks]) - 1
    shift = np.array([look.shift for look in looks]) / COMMON.spread
    for change in (contrast, shift):
        assert 0.19 < np.abs(change).max() <= 0.2
        assert np.abs(change.mean(axis=0)).max() < 0.04
    assert all(look.mixing == Appearance().mixing for look in looks)


def test_brightness_scales_the_light_of_all_channels():
    looks = [drawn(Strength(brightness=0.1), seed) for seed in range(100)]
    factors = np.exp(-np.array([look.shift for look in looks]))
    assert (factors == factors[:, :1]).all()
    assert 0.9 <= factors.min() < 0.91
    assert 1.09 < factors.max() <= 1.1
    exact = (tissue() + 1.0) * factors[3] - 1
    assert np.abs(looks[3].apply(tissue()) - exact).max() <= 0.51


@pytest.mark.parametrize("seed", range(20))
def test_white_stays_white(seed):
    look = drawn(Strength(0.3, 0.2, 0, 0.6, 0.25, 0.5), seed).on(colour_of(tissue()))
    rgb = tissue()
    rgb[:7] = 255
    assert (look.apply(rgb)[:7] == 255).all()
    assert (look.apply(rgb)[7:] < 255).any(axis=2).all()


def test_a_mixture_without_spread_is_not_blown_up():
    flat = Colour.of((0.5, 0.5, 0.5), np.diag([0.01, 1e-8, 0.01]))
    rgb = pixels_of([[[0.5, 0.6, 0.5]]])
    changed = densities(Appearance(mixing=SWAPPED, tissue=flat).apply(rgb))
    green = densities(rgb)[0, 0, 1]
    expected = 0.5 + 0.1 / LEAST_SPREAD * (green - 0.5)  # the spread of red
    assert changed[0, 0, 0] == pytest.approx(expected, abs=0.006)  # half a value


def test_blur_is_gaussian_and_reaches_no_further_than_it_says():
    look = Appearance(blur=0.8)
    assert look.reach == 3
    exact = ndimage.gaussian_filter(noise().astype(float), (0.8, 0.8, 0), radius=3, mode="nearest")
    assert np.abs(look.apply(noise()).astype(float) - exact).max() <= 0.51
    part = look.apply(noise()[10:30, 8:25])
    np.testing.assert_array_equal(part[3:-3, 3:-3], look.apply(noise())[13:27, 11:22])


def test_blur_comes_before_the_stain():
    look = drawn(STRONG, 3).on(colour_of(tissue()))
    blurred = Appearance(blur=0.8).apply(tissue())
    np.testing.assert_array_equal(replace(look, blur=0.8).apply(tissue()), look.apply(blurred))


def test_half_of_the_blurs_are_none():
    blurs = np.array([drawn(Strength(blur=1.5), seed).blur for seed in range(100)])
    assert 30 < (blurs == 0).sum() < 70
    assert 1.0 < blurs.max() <= 1.5
