"""Cells of a foreground map and the pixels under them."""

import numpy as np
import pytest

from holohisto.foreground.map import Foreground


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_rectangles_cover_what_is_no_tissue_once(share):
    random = np.random.default_rng(3)
    found = Foreground(random.random((13, 21)) < share, 16, 0.05, None)
    for x, y, width, height in [(-40, -21, 451, 290), (5, 33, 97, 50), (400, -90, 30, 31)]:
        times = np.zeros((height, width), int)
        for rows, columns in found.outside((x, y), (width, height)):
            assert times[rows, columns].size
            times[rows, columns] += 1
        np.testing.assert_array_equal(times, ~found.pixels((x, y), (width, height)))
