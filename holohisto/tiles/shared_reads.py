"""Reading a slide once for several consumers that follow each other closely."""

import threading
from collections import OrderedDict
from concurrent.futures import Future
from itertools import product

import numpy as np

from holohisto.tiles.grid import Tile
from holohisto.tiles.variants import ReadTile

SIDE = 1024
"""Side of the squares that are read and kept, working pixels."""
KEPT = 96
"""Squares that are kept, 3 MB each: three rows of squares of a slide of 32,000 working pixels."""


class SharedReads:
    """Tiles of a slide, cut from squares that are read once and kept for a while.

    The squares used last are kept. May be called by several threads, of which one reads a square
    while the others wait for it.
    """

    def __init__(
        self, read: ReadTile, size: tuple[int, int], outside: tuple[int, int, int], kept: int = KEPT
    ) -> None:
        """Nothing is read yet.

        Args:
            read: Reads working pixels, (height, width, 3) uint8, a function of position alone.
            size: Width and height of the slide, working pixels.
            outside: Colour that `read` returns outside the slide.
            kept: Most squares that are kept.
        """
        self._read, self._size, self._outside, self._most = read, size, outside, kept
        self._kept: OrderedDict[tuple[int, int], Future[np.ndarray]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, tile: Tile) -> np.ndarray:
        """Return the pixels of a tile, (height, width, 3) uint8, a new array."""
        out = np.empty((tile.height, tile.width, 3), np.uint8)
        out[:] = self._outside
        top, bottom = max(tile.y, 0), min(tile.y + tile.height, self._size[1])
        left, right = max(tile.x, 0), min(tile.x + tile.width, self._size[0])
        if top >= bottom or left >= right:
            return out
        rows = range(top // SIDE, (bottom - 1) // SIDE + 1)
        for row, column in product(rows, range(left // SIDE, (right - 1) // SIDE + 1)):
            square = self._square(row, column)
            y0, x0 = max(top, row * SIDE), max(left, column * SIDE)
            y1 = min(bottom, row * SIDE + square.shape[0])
            x1 = min(right, column * SIDE + square.shape[1])
            part = square[
                y0 - row * SIDE : y1 - row * SIDE, x0 - column * SIDE : x1 - column * SIDE
            ]
            out[y0 - tile.y : y1 - tile.y, x0 - tile.x : x1 - tile.x] = part
        return out

    def _square(self, row: int, column: int) -> np.ndarray:
        """Return a square, cut at the border of the slide."""
        with self._lock:
            found = self._kept.get((row, column))
            square: Future[np.ndarray] = found or Future()
            self._kept[row, column] = square
            self._kept.move_to_end((row, column))
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        if found is None:
            y, x = row * SIDE, column * SIDE
            width, height = min(SIDE, self._size[0] - x), min(SIDE, self._size[1] - y)
            try:
                square.set_result(self._read(Tile(y, x, width, height)))
            except BaseException as error:
                square.set_exception(error)
                raise
        return square.result()
