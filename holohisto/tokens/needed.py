"""The tokens of a slide that are computed: those on and near its foreground."""

import numpy as np

from holohisto.runtime.arithmetic import ceil_div
from holohisto.tiles.grid import Tile

MARGIN = 2
"""Cells around the foreground whose tokens are computed too."""


def needed_tokens(foreground: np.ndarray, cell: float, size: tuple[int, int], f: int) -> np.ndarray:
    """Widen the foreground by MARGIN cells and reduce it to one value per token.

    Args:
        foreground: (rows, columns) bool, one value per `cell` pixels.
        cell: Side of a cell, pixels; fractional where a slide is scaled.
        size: Width and height of the slide, pixels.
        f: Side of a token, pixels.

    Returns:
        (ceil(H/f), ceil(W/f)) bool: tokens that touch a cell.
    """
    from scipy import ndimage

    wide = np.asarray(ndimage.binary_dilation(foreground, np.ones((3, 3), bool), iterations=MARGIN))
    return tissue_tokens(wide, cell, size, f)


def tissue_tokens(foreground: np.ndarray, cell: float, size: tuple[int, int], f: int) -> np.ndarray:
    """Reduce the foreground to one value per token, without a margin.

    Arguments and result as of `needed_tokens`.
    """
    counts = np.pad(foreground.cumsum(axis=0).cumsum(axis=1), [(1, 0), (1, 0)])
    (top, bottom), (left, right) = (
        _cells(length, side, cell, f)
        for length, side in ((foreground.shape[0], size[1]), (foreground.shape[1], size[0]))
    )
    rows = counts[bottom] - counts[top]
    return rows[:, right] > rows[:, left]


def _cells(cells: int, side: int, cell: float, f: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first cell that each token along a side touches, and the cell after the last."""
    starts = np.arange(ceil_div(side, f)) * f
    first = np.minimum(np.floor(starts / cell + 1e-9).astype(int), cells - 1)
    return first, np.clip(np.ceil((starts + f) / cell - 1e-9).astype(int), first + 1, cells)


def tissue_squares(needed: np.ndarray, f: int, count: int, side: int) -> list[Tile]:
    """Return squares around tokens at even distances in the reading order of the tissue.

    Args:
        needed: (rows, columns) bool, tokens of tissue.
        f: Side of a token, pixels.
        count: Number of squares; none without tissue.
        side: Side of a square, pixels; a square may reach beyond the slide only if the slide is
            smaller.
    """
    tissue = np.flatnonzero(needed)
    squares = []
    for n in range(count if len(tissue) else 0):
        middle = divmod(int(tissue[(2 * n + 1) * len(tissue) // (2 * count)]), needed.shape[1])
        y, x = (
            min(max(0, at - side // f // 2), max(0, length - side // f))
            for at, length in zip(middle, needed.shape, strict=True)
        )
        squares.append(Tile(y * f, x * f, side, side))
    return squares
