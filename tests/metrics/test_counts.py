"""Pixel counts and Dice against brute force."""

import numpy as np
import pytest
from scored_slide import slow_dice

from holohisto.metrics.counts import TileCounts, counts, dice
from holohisto.slide.scale import Scale


def test_dice_of_all_empty_cases():
    assert dice(0, 0, 0) == 1.0
    assert dice(0, 5, 0) == 0.0
    assert dice(0, 0, 5) == 0.0
    assert dice(3, 1, 1) == 0.75
    assert dice(np.int64(2**61), 0, 0) == 1.0  # no overflow


def test_counts_equal_brute_force():
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = rng.random((2, 13, 29)) < rng.random()
        assert counts(a, b).tolist() == [
            (a & b).sum(),
            (a & ~b).sum(),
            (~a & b).sum(),
        ]


def test_tile_counts_equal_brute_force():
    rng = np.random.default_rng(5)
    height, width, tile = 47, 61, (20, 13)
    for density in (0.0, 0.02, 0.6):
        p, a = rng.random((2, height, width)) < density
        tissue = np.kron(rng.random((3, 4)) < 0.5, np.ones((16, 16), bool))[:height, :width]
        sums = TileCounts((width, height), tile)
        for top in range(0, height, 7):
            band = np.s_[top : top + 7]
            sums.add(top, p[band], a[band], tissue[band])
        scores = sums.scores(Scale.whole(3))
        tiles, empty = [], 0
        for y in range(0, height, tile[1]):
            for x in range(0, width, tile[0]):
                here = np.s_[y : y + tile[1], x : x + tile[0]]
                if tissue[here].any():
                    tiles.append(([x * 3, y * 3], slow_dice(p[here], a[here])))
                    empty += not (p[here] | a[here]).any()
        assert [(tile["xy"], tile["dice"]) for tile in scores["tiles"]] == tiles
        assert scores["tile_dice"] == pytest.approx(np.mean([dice for _, dice in tiles]))
        assert scores["foreground"]["dice"] == slow_dice(p & tissue, a & tissue)
        assert scores["everywhere"]["dice"] == slow_dice(p, a)
        assert scores["outside_foreground"] == (a & ~tissue).sum()
        assert scores["tiles_empty"] == empty
