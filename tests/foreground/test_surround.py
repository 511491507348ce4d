"""The surround of a slide: scipy's filters are the reference."""

import numpy as np
import pytest
from scipy import ndimage

from holohisto.foreground.surround import BLENDED, FRAME, SPECK, surround


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.97])
def test_black_is_widened_where_it_is_wider_than_a_speck(share):
    random = np.random.default_rng(0)
    dark = np.kron(random.random((23, 31)) < share, np.ones((5, 4), bool))
    dark ^= random.random(dark.shape) < share / 8
    rgb = random.integers(41, 256, (*dark.shape, 3), dtype=np.uint8)
    rgb[dark] = random.integers(0, 41, (dark.sum(), 3))
    rgb[::9, ::7, 1] = 41  # one channel is enough
    black = rgb.max(axis=2) <= 40
    core = ndimage.minimum_filter(black, 2 * SPECK + 1)
    near = black | ndimage.maximum_filter(core, 2 * (SPECK + BLENDED) + 1)
    found, before = surround(rgb), rgb.copy()
    assert found.dtype == bool
    np.testing.assert_array_equal(found, near[FRAME:-FRAME, FRAME:-FRAME])
    np.testing.assert_array_equal(rgb, before)
    assert found.any() == (share > 0)
