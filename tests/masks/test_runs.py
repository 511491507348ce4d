"""Masks as runs."""

import numpy as np
from objects import random_masks

from holohisto.masks import runs as rle


def test_runs_paint_merge_and_complement_are_inverse():
    for mask in random_masks(30):
        height, width = mask.shape
        runs = rle.find(mask, 5)
        rows = (5, 5 + height)
        assert np.array_equal(rle.paint(runs, rows, width), mask)
        free = rle.complement(runs, rows, width)
        assert np.array_equal(rle.paint(free, rows, width), ~mask)
        assert rle.merge(runs, free).length.tolist() == [width] * height


def test_sums_over_a_coarse_map():
    rng = np.random.default_rng(3)
    mask = rng.random((23, 37)) < 0.4
    coarse = rng.integers(0, 256, (6, 10)).astype(np.uint8)
    fine = np.kron(coarse, np.ones((4, 4), int))[:23, :37]
    runs = rle.find(mask, 8)
    expected = [fine[y - 8, a:b].sum() for y, a, b in zip(runs.y, runs.start, runs.end)]  # noqa: B905
    assert rle.sums(runs, coarse, 8, 4).tolist() == expected
