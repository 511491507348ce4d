"""The Dice of the KPIs 2024 challenge, computed as its published scorer does.

Steps of the scorer (hrlblab/KPIs2024, unet_validation_slide.py and unet_validation_patch.py) that
are repeated here on a delivered mask:

- Annotation: linear interpolation to the working size (`scipy.ndimage.zoom`, order 1); only pixels
  that stay fully set count.
- Prediction: windows of 2048 px, one every 1024 px and the last pulled back to the border, vote;
  a pixel needs two votes, so pixels covered by fewer than two windows are lost. Every window is
  assumed to vote as the mask does. Objects (8-connected) under 20,000 px are dropped.
- Slide: one Dice over all pixels; 1 where both masks are empty.
- A slide of at most one window is a patch of task 1: no votes, nothing dropped, and no Dice at all
  where nothing is annotated (MONAI leaves such patches out of the mean).
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from holohisto.masks import runs as rle
from holohisto.masks.cleaning import Bands, Objects
from holohisto.masks.components import Components
from holohisto.metrics.counts import counts, dice
from holohisto.slide.scale import Scale

WINDOW, STRIDE = 2048, 1024
"""Side of a window and distance to the next, working pixels."""
SMALLEST = 20_000
"""Smaller objects are dropped, working pixels."""
FULL = 254.5 / 255
"""Share of a pixel from which a mask of 0 and 255, rounded to 8 bits, is still 255."""
STEP = 64
"""Rows of the grid that are interpolated at a time."""


def grid_size(size: tuple[int, int], scale: Scale) -> tuple[int, int]:
    """The scorer's working width and height: rounded half to even, as scipy does."""
    return round(size[0] / scale.x), round(size[1] / scale.y)


def votes(length: int) -> np.ndarray:
    """Number of windows that cover each pixel along a side, (length,) int64."""
    last = max(0, length - WINDOW)
    covered = np.zeros(length, np.int64)
    for start in [*range(0, last // STRIDE * STRIDE, STRIDE), last]:
        covered[start : start + WINDOW] += 1
    return covered


def zoomed(
    read: Callable[[int, int], np.ndarray],
    size: tuple[int, int],
    grid: tuple[int, int],
    rows: tuple[int, int],
) -> np.ndarray:
    """Rows of an annotation as the scorer interpolates it: (rows, grid width) uint8 bits.

    Args:
        read: bits of the level-0 rows from, to, (rows, width) uint8.
        size: width and height of level 0.
        grid: the scorer's width and height.
        rows: first row and row after the last, of the grid.
    """
    if size == grid:
        return read(*rows)
    result = np.zeros((rows[1] - rows[0], grid[0]), np.uint8)
    left, right, x = _neighbours(np.arange(grid[0]), size[0], grid[0])
    for top in range(*rows, STEP):
        above, below, y = _neighbours(np.arange(top, min(top + STEP, rows[1])), size[1], grid[1])
        pixels = read(int(above[0]), int(below[-1]) + 1)
        above, below, y = above - above[0], below - above[0], y[:, None]
        for bit in np.flatnonzero(np.bitwise_or.reduce(pixels, axis=None) >> np.arange(8) & 1):
            mask = (pixels >> bit & 1).astype(np.float64)
            share = mask[above] * (1 - y) + mask[below] * y
            share = share[:, left] * (1 - x) + share[:, right] * x
            result[top - rows[0] :][: len(y)] |= (share >= FULL) * np.uint8(1 << bit)
    return result


def _neighbours(
    index: np.ndarray, length: int, reduced: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The level-0 pixels before and after each pixel of the grid, and the weight of the latter.

    scipy leaves out positions that round-off puts beyond the last pixel: NaN, which is never full.
    """
    position = index * ((length - 1) / (reduced - 1) if reduced > 1 else 0.0)
    before = np.minimum(position.astype(np.int64), length - 1)
    weight = np.where(position > length - 1, np.nan, position - before)
    return before, np.minimum(before + 1, length - 1), weight


def score(
    bands: Bands,
    objects: Objects,
    drawn: Callable[[tuple[int, int]], np.ndarray],
    grid: tuple[int, int],
) -> dict[str, Any]:
    """Score the delivered mask of one class: task, tp, fp, fn (pixels of the grid) and Dice.

    Args:
        bands: labels at working resolution.
        objects: the class's delivered objects, found in `bands`.
        drawn: the annotation on the grid, of rows from, to: (rows, width) bool.
        grid: the scorer's width and height, at most one less than the labels'.
    """
    patch = max(grid) <= WINDOW
    across, down = (votes(side) for side in grid)

    def predicted() -> Any:
        for band, rows, labels in bands:
            rows = rows[0], min(rows[1], grid[1])
            if rows[0] < rows[1]:
                runs, _ = objects.runs(labels, (rows[0], rows[0] + len(labels)), band)
                mask = rle.paint(runs, (rows[0], rows[0] + len(labels)), bands.size[0])
                mask = mask[: rows[1] - rows[0], : grid[0]]
                if not patch:
                    mask &= np.multiply.outer(down[rows[0] : rows[1]], across) > 1
                yield band, rows, mask

    least = 0 if patch else SMALLEST
    kept = Components(diagonal=True, wanted=lambda table: table.area >= least)
    for _, rows, mask in predicted():
        kept.feed(rle.find(mask, rows[0]), rows)
    kept.finish()
    total = np.zeros(3, np.int64)
    for band, rows, mask in predicted():
        runs = rle.find(mask, rows[0])
        runs = runs[kept.number(runs, band) >= 0]
        total += counts(rle.paint(runs, rows, grid[0]), drawn(rows))
    both, extra, missed = total.tolist()
    undefined = patch and not both + missed
    return {
        "task": "patch" if patch else "slide",
        "tp": both,
        "fp": extra,
        "fn": missed,
        "dice": None if undefined else dice(both, extra, missed),
    }
