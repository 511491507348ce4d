"""A slide is read once for all that read it closely after each other."""

import threading

import numpy as np
import pytest

from holohisto.runtime.prefetch import prefetch
from holohisto.tiles import shared_reads
from holohisto.tiles.grid import Tile
from holohisto.tiles.shared_reads import SharedReads

SIZE = (651, 395)
PICTURE = np.random.default_rng(0).integers(0, 255, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
OUTSIDE = (250, 251, 252)


@pytest.fixture(autouse=True)
def _small_squares(monkeypatch):
    monkeypatch.setattr(shared_reads, "SIDE", 100)


class Counted:
    """Reads the picture and keeps the tiles that were asked for."""

    def __init__(self) -> None:
        self.tiles: list[Tile] = []

    def __call__(self, tile):
        self.tiles.append(tile)
        assert 0 <= tile.x < tile.x + tile.width <= SIZE[0]
        assert 0 <= tile.y < tile.y + tile.height <= SIZE[1]
        return PICTURE[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width]

    @property
    def pixels(self) -> int:
        return sum(tile.width * tile.height for tile in self.tiles)


def expected(tile):
    wide = np.empty((SIZE[1] + 2000, SIZE[0] + 2000, 3), np.uint8)
    wide[:] = OUTSIDE
    wide[1000:-1000, 1000:-1000] = PICTURE
    return wide[1000 + tile.y :, 1000 + tile.x :][: tile.height, : tile.width]


TILES = [
    Tile(0, 0, *SIZE),
    Tile(-30, 590, 120, 77),
    Tile(99, 100, 1, 2),
    Tile(394, 650, 9, 9),
    Tile(-500, -500, 1500, 1400),
    Tile(395, 0, 64, 64),
    Tile(40, -80, 80, 64),
]


def test_tiles_are_those_of_the_slide_and_pixels_are_read_once():
    counted = Counted()
    read = SharedReads(counted, SIZE, OUTSIDE)
    for tile in TILES:
        np.testing.assert_array_equal(read(tile), expected(tile))
    assert counted.pixels == SIZE[0] * SIZE[1]
    assert len(counted.tiles) == 7 * 4


def test_only_what_a_tile_touches_is_read():
    counted = Counted()
    read = SharedReads(counted, SIZE, OUTSIDE)
    read(Tile(150, 220, 30, 60))
    assert [(t.y, t.x, t.width, t.height) for t in counted.tiles] == [
        (100, 200, 100, 100),
        (200, 200, 100, 100),
    ]
    read(Tile(1000, 0, 50, 50))
    assert len(counted.tiles) == 2


def test_the_squares_used_last_are_kept():
    counted = Counted()
    read = SharedReads(counted, SIZE, OUTSIDE, kept=2)
    for x in (0, 100, 0, 200, 0, 100):
        read(Tile(0, x, 50, 50))
    assert [tile.x for tile in counted.tiles] == [0, 100, 200, 100]


def test_a_result_may_be_changed():
    read = SharedReads(Counted(), SIZE, OUTSIDE)
    read(TILES[0])[:] = 0
    np.testing.assert_array_equal(read(TILES[0]), PICTURE)


def test_threads_that_need_a_square_wait_for_the_one_that_reads_it():
    counted, together = Counted(), threading.Barrier(4)
    read = SharedReads(counted, SIZE, OUTSIDE)

    def at_once(tile):
        together.wait()
        return read(tile)

    tile = Tile(-10, 3, 600, 400)
    for found in prefetch(at_once, [tile] * 4, workers=4):
        np.testing.assert_array_equal(found, expected(tile))
    assert len(counted.tiles) == len(set(counted.tiles)) == 7 * 4


def test_an_error_reaches_every_reader():
    def fail(tile):
        raise ValueError("damaged")

    read = SharedReads(fail, SIZE, OUTSIDE)
    for _ in range(2):
        with pytest.raises(ValueError, match="damaged"):
            read(TILES[0])
