"""Random rectangles that pairs of training tiles exchange (CutMix, arXiv 1905.04899)."""

from typing import Any

import numpy as np

SIDES = (0.3, 0.8)
"""Smallest and largest side of the rectangle, as a share of the tile's."""

Rectangle = tuple[slice, slice]
"""Rows and columns."""


def random_rectangle(height: int, width: int, random: np.random.Generator) -> Rectangle:
    """Return a random rectangle within height x width squares."""
    rows, columns = (_interval(side, random) for side in (height, width))
    return rows, columns


def in_pixels(rectangle: Rectangle, square: int) -> Rectangle:
    """Return the rows and columns of pixels of a rectangle given in squares of `square` pixels."""
    rows, columns = (slice(s.start * square, s.stop * square) for s in rectangle)
    return rows, columns


def swap(array: Any, first: int, second: int) -> None:
    """Exchange two entries of the first axis of an array or a tensor in place."""
    array[[first, second]] = array[[second, first]]


def _interval(side: int, random: np.random.Generator) -> slice:
    length = max(1, round(side * float(random.uniform(*SIDES))))
    start = int(random.integers(side - length + 1))
    return slice(start, start + length)
