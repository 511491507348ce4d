"""Boundary F1 against distance transforms, and by hand."""

import numpy as np
import pytest
from scipy import ndimage

from holohisto.masks import runs as rle
from holohisto.metrics.boundary import Boundary, widened

CROSS = ndimage.generate_binary_structure(2, 1)


def slow_edge(mask):
    return mask & ~ndimage.binary_erosion(mask, CROSS, border_value=1)


def slow_counts(predicted, annotated, tolerance):
    found, drawn = slow_edge(predicted), slow_edge(annotated)

    def near(own, other):
        if not other.any():
            return 0
        return int((ndimage.distance_transform_edt(~other)[own] <= tolerance + 1e-9).sum())

    return int(found.sum()), near(found, drawn), int(drawn.sum()), near(drawn, found)


def counted(predicted, annotated, tolerance, band):
    boundary = Boundary(predicted.shape[1], tolerance)
    for top in range(0, len(predicted), band):
        boundary.add(predicted[top : top + band], annotated[top : top + band])
    return boundary.scores()


@pytest.mark.parametrize("tolerance", [0, 1, 1.5, 2.25, 4, 7.3])
@pytest.mark.parametrize("band", [1, 5, 200])
def test_counts_equal_distance_transforms_on_random_masks(tolerance, band):
    rng = np.random.default_rng(3)
    for trial in range(6):
        shape = rng.integers(20, 150, 2)
        noise = rng.random((2, *shape))
        smooth = ndimage.gaussian_filter(noise, (0, 3, 3)) if trial % 2 else noise
        predicted, annotated = smooth > np.quantile(smooth, rng.uniform(0.2, 0.95))
        scores = counted(predicted, annotated, tolerance, band)
        found, found_near, drawn, drawn_near = slow_counts(predicted, annotated, tolerance)
        names = ("found", "found_near", "annotated", "annotated_near")
        assert [scores[name] for name in names] == [found, found_near, drawn, drawn_near]
        precision, recall = found_near / found, drawn_near / drawn
        assert scores["precision"] == precision
        assert scores["recall"] == recall
        if found_near:
            assert scores["f1"] == pytest.approx(2 / (1 / precision + 1 / recall))


def test_two_squares_by_hand():
    predicted, annotated = np.zeros((2, 40, 61), bool)
    predicted[10:20, 10:20] = True
    annotated[10:20, 13:23] = True  # three to the right
    scores = counted(predicted, annotated, 2, 512)
    # 36 pixels each; of the left column none is near, of the right one the 3 at either end are
    assert (scores["found"], scores["annotated"]) == (36, 36)
    assert (scores["found_near"], scores["annotated_near"]) == (36 - 10 - 4, 36 - 10 - 4)
    assert scores["f1"] == pytest.approx(22 / 36)
    assert counted(predicted, annotated, 3, 512)["f1"] == 1.0


def test_empty_masks():
    empty, some = np.zeros((2, 9, 14), bool)
    some[3:5, 3:5] = True
    assert counted(empty, empty, 2, 4)["f1"] == 1.0
    assert counted(some, empty, 2, 4)["precision"] == 0.0
    assert counted(some, empty, 2, 4)["f1"] == 0.0
    assert counted(empty, some, 2, 4)["recall"] == 0.0


def test_the_border_of_the_slide_is_no_boundary():
    whole = np.ones((13, 21), bool)
    half = whole.copy()
    half[:, 10:] = False
    assert counted(whole, whole, 1, 5)["found"] == 0
    assert counted(half, whole, 1, 5)["found"] == 13


def test_widened_is_a_disc():
    point = rle.find(np.pad(np.ones((1, 1), bool), ((20, 20), (20, 31))))
    painted = rle.paint(widened(point, 6.5, 52), (0, 41), 52)
    y, x = np.mgrid[:41, :52]
    np.testing.assert_array_equal(painted, (x - 20) ** 2 + (y - 20) ** 2 <= 6.5**2)
