"""Outlines along the edges of pixels."""

import numpy as np
import pytest
import shapely
from objects import random_masks

from holohisto.masks import outlines
from holohisto.masks import runs as rle


def test_outlines_cover_exactly_the_pixels():
    for mask in random_masks(30):
        runs = rle.find(mask)
        _, number = rle.label(runs, diagonal=True)
        _, polygons = outlines.trace(runs, number)
        y, x = np.indices(mask.shape)
        points = shapely.points(x + 0.5, y + 0.5)
        inside = np.zeros(mask.shape, bool)
        for polygon in polygons:
            inside |= shapely.contains(polygon, points)
        assert np.array_equal(inside, mask)


@pytest.mark.parametrize("tolerance", [0.0, 0.3, 1.0, 5.0])
def test_thinned_outlines_stay_valid_and_keep_their_area_about(tolerance):
    for mask in random_masks(40):
        runs = rle.find(mask)
        _, number = rle.label(runs, diagonal=True)
        _, polygons = outlines.trace(runs, number)
        thinned = outlines.thin(polygons, tolerance)
        assert shapely.is_valid(thinned).all()
        assert not shapely.is_empty(thinned).any()
        moved = shapely.area(shapely.symmetric_difference(polygons, thinned))
        assert (moved <= tolerance * shapely.length(polygons)).all()


def test_two_corners_that_touch_are_one_object_of_two_parts():
    mask = np.zeros((5, 7), bool)
    mask[1, 1] = mask[2, 2] = True
    runs = rle.find(mask)
    count, number = rle.label(runs, diagonal=True)
    _, polygons = outlines.trace(runs, number)
    assert count == 1
    assert polygons[0].geom_type == "MultiPolygon"
    assert polygons[0].area == 2
