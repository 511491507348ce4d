"""Matching of objects against exhaustive search."""

import numpy as np
import pytest
from scipy import ndimage

from holohisto.masks import runs as rle
from holohisto.metrics.objects import match_objects, object_scores, overlaps

SQUARE = np.ones((3, 3))


def best_matching(iou: np.ndarray, limit: float) -> int:
    """Largest number of one-to-one pairs, tried exhaustively."""
    if not iou.size:
        return 0
    rest = best_matching(iou[1:], limit)
    for j in np.flatnonzero(iou[0] >= limit):
        rest = max(rest, 1 + best_matching(np.delete(iou[1:], j, axis=1), limit))
    return rest


@pytest.mark.parametrize("limit", [0.5, 0.7])
def test_object_matching_equals_exhaustive_search(limit):
    rng = np.random.default_rng(4)
    for trial in range(60):
        shape = rng.integers(2, 14, 2)
        a = rng.random(shape) < 0.5
        b = a ^ (rng.random(shape) < (0.25 if trial % 3 else 1.0))
        la, n = ndimage.label(a, SQUARE)
        lb, m = ndimage.label(b, SQUARE)
        ours, theirs = (
            [lab == k for k in range(1, count + 1)] for lab, count in ((la, n), (lb, m))
        )
        iou = np.array([[(p & q).sum() / (p | q).sum() for q in theirs] for p in ours])
        iou = iou.reshape(n, m)
        ra, rb = rle.find(a), rle.find(b)
        na, ia = rle.label(ra, diagonal=True)
        nb, ib = rle.label(rb, diagonal=True)
        areas = (
            np.bincount(ia, ra.length, na).astype(int),
            np.bincount(ib, rb.length, nb).astype(int),
        )
        match = match_objects(*areas, overlaps(ra, ia, rb, ib), limit)
        found = match[match >= 0]
        assert len(found) == best_matching(iou, limit)
        assert len(set(found.tolist())) == len(found)


def test_exact_ties_are_matched_one_to_one():
    # prediction 0 has IoU 0.5 with both halves; prediction 1 equals nothing
    areas = np.array([8, 3]), np.array([4, 4])
    pairs = np.array([[0, 0, 4], [0, 1, 4]])
    match = match_objects(*areas, pairs, 0.5)
    assert (match >= 0).sum() == 1
    assert match[1] == -1


def test_object_scores_of_all_empty_cases():
    def of(*numbers):
        scores = object_scores(*numbers)
        return [scores[key] for key in ("precision", "recall", "f1")]

    assert of(0, 0, 0) == [1.0, 1.0, 1.0]
    assert of(0, 3, 0) == [0.0, 0.0, 0.0]
    assert of(0, 0, 3) == [0.0, 0.0, 0.0]
    assert of(2, 4, 2) == [0.5, 1.0, pytest.approx(2 / 3)]
