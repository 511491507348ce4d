"""Maps with one value per square cell of working pixels."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from holohisto.runtime.arithmetic import ceil_div


def pixels_of(
    cells: np.ndarray, cell: int, xy: tuple[int, int], size: tuple[int, int]
) -> np.ndarray:
    """Return the values of a map's cells under the pixels of a rectangle.

    Args:
        cells: (rows, columns) bool.
        cell: Side of a cell, working pixels.
        xy: Top-left corner, working pixels; may lie outside the slide.
        size: Width and height, working pixels.

    Returns:
        (height, width) bool; False outside the map.
    """
    (x, y), (width, height) = xy, size
    columns = np.arange(x, x + width) // cell
    rows = np.arange(y, y + height) // cell
    inside = (rows >= 0) & (rows < cells.shape[0])
    across = (columns >= 0) & (columns < cells.shape[1])
    result = np.zeros((height, width), bool)
    result[np.ix_(inside, across)] = cells[np.ix_(rows[inside], columns[across])]
    return result


def rectangles_outside(
    cells: np.ndarray, cell: int, xy: tuple[int, int], size: tuple[int, int]
) -> Iterator[tuple[slice, slice]]:
    """Yield rectangles that cover, once each, the pixels where `pixels_of` is False.

    Filling them is much faster than a mask of pixels. Arguments as `pixels_of`.

    Yields:
        Rows and columns, from `xy` on.
    """
    (x, y), (width, height) = xy, size
    # The cells that the rectangle touches; those beyond the map are False.
    left, top = x // cell, y // cell
    columns = np.arange(left, ceil_div(x + width, cell))
    rows = np.arange(top, ceil_div(y + height, cell))
    inside = pixels_of(cells, 1, (left, top), (len(columns), len(rows)))
    edges = np.diff(np.pad(~inside, [(0, 0), (1, 1)]).astype(np.int8), axis=1)
    changed = np.flatnonzero((inside[1:] != inside[:-1]).any(axis=1)) + 1
    bounds = [0, *changed.tolist(), len(rows)]
    for first, end in pairwise(bounds):
        lines = slice(max(0, (top + first) * cell - y), min(height, (top + end) * cell - y))
        starts, ends = (np.flatnonzero(edges[first] == step).tolist() for step in (1, -1))
        for start, stop in zip(starts, ends, strict=True):
            run = slice(max(0, (left + start) * cell - x), min(width, (left + stop) * cell - x))
            yield lines, run
