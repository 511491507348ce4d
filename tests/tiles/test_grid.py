from itertools import pairwise

import numpy as np
import pytest
from monai.data.utils import compute_importance_map

from holohisto.tiles import grid


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
@pytest.mark.parametrize(("length", "tile"), [(4519, 1024), (2693, 768), (1025, 1024), (331, 320)])
def test_positions_cover_the_side_on_the_lattice(length, tile, overlap):
    found = grid.positions(length, tile, overlap, 16)
    covered = np.zeros(length + tile, int)
    for start in found:
        covered[start : start + tile] += 1
    assert covered[:length].min() >= 1
    assert all(start % 16 == 0 for start in found)
    assert found == sorted(set(found))
    assert found[-1] + tile - length < 16
    assert all(b - a <= tile * (1 - overlap) or b == found[-1] for a, b in pairwise(found))


def test_positions_of_a_side_shorter_than_the_tile():
    assert grid.positions(500, 1024, 0.25, 16) == [0]


def test_tile_rows_keep_width_and_height_apart():
    rows = grid.tile_rows((100, 60), (64, 32), 0.0, 16)
    assert [[(t.x, t.y) for t in row] for row in rows] == [
        [(0, 0), (48, 0)],
        [(0, 32), (48, 32)],
    ]
    assert {(t.width, t.height) for row in rows for t in row} == {(64, 32)}


def test_an_roi_of_3000_pixels_is_one_tile_of_whole_tokens():
    tile = grid.whole((3000, 3000), 16)
    assert tile == (3008, 3008)
    assert grid.tile_rows((3000, 3000), tile, 0.25, 16) == [[grid.Tile(0, 0, 3008, 3008)]]


def test_gaussian_weights_are_those_of_monai():
    theirs = compute_importance_map((48, 80), mode="gaussian", sigma_scale=0.125)
    np.testing.assert_allclose(grid.gaussian_weights(80, 48), theirs.numpy(), rtol=1e-5)
