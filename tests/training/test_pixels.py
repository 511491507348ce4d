"""Pixels of training tiles, computed by the device, are those that numpy computes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from training_runs import SIZE, slide

from holohisto.config.augmentation import Augmentation
from holohisto.tiles.appearance import Appearance, Strength
from holohisto.tiles.colour import Colour
from holohisto.tiles.grid import Tile
from holohisto.tiles.variants import Variant
from holohisto.training import pixels
from holohisto.training.pixels import DrawnPixels
from holohisto.training.slides import View

CPU = torch.device("cpu")
TILE = Tile(y=171, x=203, width=151, height=94)
"""Reaches beyond the slide on two sides."""
STRENGTH = Strength.of(Augmentation(blur_sigma=1.7, greyscale_share=0.2, permutation_share=0.3))
TISSUE = Colour.of((0.3, 0.6, 0.4), [[0.05, 0.03, 0.02], [0.03, 0.1, 0.03], [0.02, 0.03, 0.04]])


def drawn_look(seed):
    return Appearance.draw(STRENGTH, np.random.default_rng(seed)).on(TISSUE)


def both(variant, tile=TILE, device=CPU):
    """The pixels by numpy and by torch, each (3, height, width)."""
    view = View(slide(1), tile, variant)
    shown = view.drawn().shown(device)
    assert shown.dtype == torch.uint8
    return view.rgb(), shown.cpu().numpy()


def differences(variant, device=CPU):
    exact, found = both(variant, device=device)
    assert found.shape == exact.shape
    return np.abs(found.astype(int) - exact)


def require_agreement(device):
    """Over random appearances, scales and orientations: one grey level of few values."""
    looks = [drawn_look(seed) for seed in range(24)]
    assert 6 < sum(look.blur > 0 for look in looks) < 18
    seen = []
    for n, look in enumerate(looks):
        difference = differences(Variant(n % 8, (1.0, 0.83, 1.2)[n % 3], look), device)
        assert difference.max() <= 1
        seen.append((difference > 0).mean())
    assert np.mean(seen) < 1e-3


def test_every_variant_agrees_with_numpy_within_one_grey_level():
    require_agreement(CPU)


@pytest.mark.gpu
def test_a_gpu_agrees_with_numpy_within_one_grey_level():
    require_agreement(torch.device("cuda"))


def test_strips_have_no_seams(monkeypatch):
    look = replace(drawn_look(1), blur=1.3)
    for variant in (Variant(5, 1.2, look), Variant(2, 1.0, look), Variant(0, 0.83)):
        results = []
        for pixels_at_once in (1, 7 * TILE.width, 10**9):
            monkeypatch.setattr(pixels, "STRIP", pixels_at_once)
            results.append(both(variant)[1])
        for result in results[1:]:
            assert np.array_equal(result, results[0])


@pytest.mark.parametrize("orientation", range(8))
def test_without_a_change_pixels_are_those_of_the_slide(orientation):
    exact, found = both(Variant(orientation))
    assert np.array_equal(found, exact)
    assert (exact != 255).any()


@pytest.mark.parametrize("scale", [0.83, 1.2])
def test_scaling_alone_rounds_as_numpy_does(scale):
    assert differences(Variant(3, scale)).max() == 0


def test_blur_alone_rounds_as_numpy_does():
    for blur in (0.2, 0.8, 1.7, 4.0):
        assert differences(Variant(0, 1.0, Appearance(blur=blur))).mean() < 1e-4


@pytest.mark.parametrize("seed", range(12))
def test_white_stays_white(seed):
    white = np.full((120, 170, 3), 255, np.uint8)
    look = replace(drawn_look(seed), blur=0.9)

    def read(tile):
        assert (tile.height, tile.width) == white.shape[:2]
        return white

    tile = Tile(0, 0, 170 - 2 * look.reach, 120 - 2 * look.reach)
    shown = DrawnPixels.read(read, tile, Variant(4, 1.0, look)).shown(CPU)
    assert shown.shape == (3, tile.width, tile.height)
    assert (shown == 255).all()


def test_no_more_is_read_than_the_blur_reaches():
    asked = []

    def read(tile):
        asked.append(tile)
        return np.zeros((tile.height, tile.width, 3), np.uint8)

    DrawnPixels.read(read, TILE, Variant())
    DrawnPixels.read(read, TILE, Variant(appearance=Appearance(blur=0.8)))
    assert asked == [TILE, TILE.grown(3)]
    assert TILE.x + TILE.width > SIZE[0]
    assert TILE.y + TILE.height > SIZE[1]
