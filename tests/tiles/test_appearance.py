import numpy as np
import pytest
from scipy import ndimage

from holohisto.tiles.appearance import Appearance, Strength

NONE = Strength(0, 0, 0)


def noise():
    return np.random.default_rng(0).integers(0, 256, (40, 31, 3), dtype=np.uint8)


def test_no_strength_changes_nothing_not_even_by_rounding():
    same = Appearance.draw(NONE, np.random.default_rng(0))
    np.testing.assert_array_equal(same.apply(noise()), noise())
    assert same.reach == 0


def test_glass_stays_white_and_a_blacked_out_surround_black():
    for seed in range(20):
        look = Appearance.draw(Strength(0.3, 0, 0), np.random.default_rng(seed))
        assert (look.apply(np.full((2, 2, 3), 255, np.uint8)) == 255).all()
        assert (look.apply(np.zeros((2, 2, 3), np.uint8)) <= 12).all()


def test_strength_is_the_largest_relative_change_of_a_dyes_density():
    changes = []
    for seed in range(50):
        look = Appearance.draw(Strength(0.2, 0, 0), np.random.default_rng(seed))
        of_dyes = np.abs(np.linalg.eigvals(np.array(look.stain)).real - 1)
        assert (of_dyes <= 0.2 + 1e-6).all()
        changes.append(of_dyes.max())
    assert max(changes) > 0.12


def test_density_is_what_is_mapped():
    look = Appearance(stain=((1.2, 0, 0), (0, 1.0, 0.1), (0, 0, 0.9)))
    rgb = np.array([[[100, 150, 200]]], np.uint8)
    density = -np.log((rgb + 1) / 256) @ np.array(look.stain)
    np.testing.assert_array_equal(look.apply(rgb), np.round(256 * np.exp(-density) - 1))


def test_brightness_scales_and_keeps_black():
    rgb = np.array([[[0, 100, 250]]], np.uint8)
    np.testing.assert_array_equal(Appearance(brightness=1.1).apply(rgb), [[[0, 110, 255]]])
    np.testing.assert_array_equal(Appearance(brightness=0.9).apply(rgb), [[[0, 90, 225]]])


def test_blur_is_gaussian_and_reaches_no_further_than_it_says():
    look = Appearance(blur=0.8)
    assert look.reach == 3
    exact = ndimage.gaussian_filter(noise().astype(float), (0.8, 0.8, 0), radius=3, mode="nearest")
    assert np.abs(look.apply(noise()).astype(float) - exact).max() <= 0.51
    part = look.apply(noise()[10:30, 8:25])
    np.testing.assert_array_equal(part[3:-3, 3:-3], look.apply(noise())[13:27, 11:22])


def test_half_of_the_blurs_are_none():
    looks = [Appearance.draw(Strength(0, 0, 1.5), np.random.default_rng(s)) for s in range(100)]
    blurs = np.array([look.blur for look in looks])
    assert 30 < (blurs == 0).sum() < 70
    assert 1.0 < blurs.max() <= 1.5


def test_one_look_after_another():
    tissue = noise() // 4 + 150  # far from what is cut off at 0 and 255
    a, b = (Appearance.draw(Strength(0.2, 0.05, 0), np.random.default_rng(seed)) for seed in (1, 2))
    both = a.then(b).apply(tissue).astype(int)
    assert np.abs(both - b.apply(a.apply(tissue))).max() <= 2
    assert Appearance(blur=0.3).then(Appearance(blur=0.4)).blur == pytest.approx(0.5)
