"""Maps with one value per square cell of working pixels."""

import numpy as np


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
