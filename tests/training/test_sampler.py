import math

import numpy as np
import pytest
from scipy import stats

from holohisto.tiles.grid import Tile, holds_foreground
from holohisto.tiles.variants import Variant
from holohisto.training.sampler import (
    GridSampler,
    RandomSampler,
    Sample,
    SamplingArea,
    equal_pixels,
    foreground_tiles,
)

TILE = (320, 208)


def areas():
    first = np.zeros((50, 70), bool)
    first[10:30, 15:60] = True
    second = np.zeros((41, 33), bool)
    second[0:10, 0:10] = True
    second[38:41, 30:33] = True
    annotated = np.zeros((50, 70), bool)
    annotated[12:14, 20:22] = True
    return [
        SamplingArea((70 * 16 - 5, 50 * 16 - 3), 16, first, annotated),
        SamplingArea((33 * 16 - 7, 41 * 16 - 1), 16, second, np.zeros_like(second)),
    ]


def sampler(share=0.0, seed=3):
    return RandomSampler(areas(), TILE, 16, seed, share)


def test_sample_is_a_function_of_seed_and_number():
    forward = [sampler()(n) for n in range(50)]
    backward = [sampler()(n) for n in reversed(range(50))]
    assert forward == backward[::-1]
    assert len(set(forward)) > 45
    assert forward != [sampler(seed=4)(n) for n in range(50)]


def test_every_tile_holds_foreground_and_lies_on_the_lattice():
    all_areas = areas()
    for n in range(600):
        sample = sampler()(n)
        area, tile = all_areas[sample.slide], sample.tile
        assert holds_foreground(area.foreground, area.cell, tile)
        assert tile.x % 16 == tile.y % 16 == 0
        assert (tile.width, tile.height) == TILE
        assert 0 <= tile.x < max(16, area.size[0] - tile.width + 16)
        assert 0 <= tile.y < max(16, area.size[1] - tile.height + 16)


def test_slides_and_cells_are_drawn_by_foreground_area():
    drawn = sampler()
    cells = {0: np.zeros((50, 70)), 1: np.zeros((41, 33))}
    for n in range(20_000):
        slide, row, column = drawn._foreground.draw(np.random.default_rng(n))
        cells[slide][row, column] += 1
    counts = np.concatenate([cells[i][f.foreground] for i, f in enumerate(areas())])
    assert counts.sum() == 20_000
    assert stats.chisquare(counts).pvalue > 1e-3


def test_the_point_lies_anywhere_in_the_tile():
    """Centred tiles would always show tissue in the middle."""
    lonely = np.zeros((200, 300), bool)
    lonely[100, 150] = True
    one = RandomSampler([SamplingArea((4800, 3200), 16, lonely, lonely)], TILE, 16, 0, 0.0)
    offsets = np.array(
        [(150 * 16 - t.x, 100 * 16 - t.y) for t in (one(n).tile for n in range(2000))]
    )
    for axis, side in ((0, 320), (1, 208)):
        assert offsets[:, axis].min() < 16
        assert offsets[:, axis].max() >= side - 48
        histogram = np.histogram(offsets[:, axis], bins=4, range=(0, side - 16))[0]
        assert histogram.min() > 350


def test_annotated_share_draws_from_annotated_cells():
    def hits(share):
        return sum(
            holds_foreground(areas()[0].annotated, 16, sample.tile)
            for sample in (sampler(share)(n) for n in range(300))
            if sample.slide == 0
        )

    assert hits(1.0) == 300
    assert hits(0.0) < 150


def test_a_slide_smaller_than_the_tile_gives_whole_tiles_at_its_origin():
    small = SamplingArea((100, 90), 16, np.ones((6, 7), bool), np.zeros((6, 7), bool))
    one = RandomSampler([small], TILE, 16, 0, 0.0)
    assert {(one(n).tile.x, one(n).tile.y) for n in range(20)} == {(0, 0)}
    assert {(one(n).tile.width, one(n).tile.height) for n in range(20)} == {TILE}


def test_grid_sampler_visits_every_foreground_tile_once_a_round():
    grid = GridSampler(areas(), TILE, 16, 0)
    expected = {
        Sample(i, tile)
        for i, area in enumerate(areas())
        for tile in foreground_tiles(area, TILE, 16)
    }
    count = len(expected)
    first, second = ([grid(n) for n in range(k * count, (k + 1) * count)] for k in (0, 1))
    assert set(first) == set(second) == expected
    assert first != second
    assert second == [GridSampler(areas(), TILE, 16, 0)(n) for n in range(count, 2 * count)]


VARIANTS = (Variant(), Variant(3, 0.5), Variant(5, 1.5))


def test_variants_are_drawn_evenly_and_hit_foreground_in_their_own_coordinates():
    one = RandomSampler(areas(), TILE, 16, 0, 0.0, VARIANTS)
    found = [one(n) for n in range(300)]
    assert np.bincount([sample.variant for sample in found], minlength=3).min() > 70
    for sample in found:
        size = (sample.tile.width, sample.tile.height)
        assert size == (TILE[::-1] if sample.variant == 2 else TILE)
        assert sample.tile.x % 16 == sample.tile.y % 16 == 0
        area, scale = areas()[sample.slide], VARIANTS[sample.variant].scale
        y, x, width, height = (
            math.floor(sample.tile.y / scale),
            math.floor(sample.tile.x / scale),
            math.ceil(sample.tile.width / scale) + 1,
            math.ceil(sample.tile.height / scale) + 1,
        )
        assert holds_foreground(area.foreground, area.cell, Tile(y, x, width, height))


def test_a_grid_is_laid_in_the_coordinates_of_every_variant():
    """Each has its own tiles: on their side where it is turned, fewer where it is smaller."""
    grid = GridSampler(areas(), TILE, 16, 0, VARIANTS)
    turn = [grid(n) for n in range(len(grid.samples))]
    assert len(set(turn)) == len(turn)
    numbers = np.bincount([sample.variant for sample in turn])
    assert numbers[1] < numbers[0] < numbers[2]
    for k, variant in enumerate(VARIANTS):
        width, height = TILE[::-1] if k == 2 else TILE
        covered = [np.zeros_like(area.foreground) for area in areas()]
        for sample in turn:
            if sample.variant == k:
                tile, scale = sample.tile, variant.scale * 16
                assert (tile.width, tile.height) == (width, height)
                assert tile.x % 16 == tile.y % 16 == 0
                rows = slice(int(tile.y // scale), math.ceil((tile.y + height) / scale))
                columns = slice(int(tile.x // scale), math.ceil((tile.x + width) / scale))
                assert areas()[sample.slide].foreground[rows, columns].any()
                covered[sample.slide][rows, columns] = True
        for area, cells in zip(areas(), covered, strict=True):
            assert cells[area.foreground].all()


def test_tiles_of_a_grid_that_are_not_square_occur_in_all_orientations():
    orientations = tuple(Variant(n) for n in range(8))
    grid = GridSampler(areas(), TILE, 16, 0, orientations)
    found = [grid(n) for n in range(len(grid.samples))]
    assert {sample.variant for sample in found} == set(range(8))
    for sample in found:
        turned = (sample.tile.height, sample.tile.width)
        seen = turned if sample.variant >= 4 else turned[::-1]
        assert seen == TILE
        assert holds_foreground(areas()[sample.slide].foreground, 16, sample.tile)


@pytest.mark.parametrize(
    ("batch", "other", "expected"),
    [
        (8, (3840, 2160), 8),
        (101, (3840, 2160), 101),
        (8, (1024, 1024), 64),  # 63.28
        (1, (1024, 1024), 8),  # 7.91
        (2, (2048, 1080), 8),  # 7.5: no even number is near
        (3, (1024, 768), 32),  # 31.64
        (1, (4096, 4096), 1),  # 0.49
        (2, (1920, 1080), 8),
    ],
)
def test_a_step_has_equal_pixels_in_tiles_of_another_size(batch, other, expected):
    assert equal_pixels(batch, (3840, 2160), other) == expected
