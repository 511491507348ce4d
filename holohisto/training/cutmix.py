"""Pairs of training tiles exchange a rectangle: CutMix (arXiv 1905.04899) as for segmentation.

A segmenter that attends to a whole tile can learn a small cohort's tiles by heart; amid the
surroundings of another tile it has to look at the object itself (arXiv 1906.01916). Nothing is
added nor lost: a pair shows the pixels that it would show without, unless an epoch ends within it.
"""

from dataclasses import replace

import numpy as np

from holohisto.training.slides import Batch

SIDES = (0.3, 0.8)
"""Least and largest side of the rectangle, as a share of the tile's."""

Rectangle = tuple[slice, slice]
"""Rows and columns."""


def random_rectangle(height: int, width: int, random: np.random.Generator) -> Rectangle:
    """Return a random rectangle within height x width squares."""
    rows, columns = (_stretch(side, random) for side in (height, width))
    return rows, columns


def _stretch(side: int, random: np.random.Generator) -> slice:
    length = max(1, round(side * float(random.uniform(*SIDES))))
    start = int(random.integers(side - length + 1))
    return slice(start, start + length)


def exchange(batch: Batch, first: int, second: int, chosen: Rectangle, square: int) -> Batch:
    """Exchange a rectangle between two tiles, in place; returns the batch with their names mixed.

    Args:
        batch: Tiles whose sides are multiples of `square`.
        first: A tile's place in the batch.
        second: The other's.
        chosen: In squares of `square` pixels, each of which is a token where there are tokens.
        square: Its side, pixels.
    """
    for array in (batch.rgb, batch.target, batch.known):
        if array is not None:
            rows, columns = (slice(part.start * square, part.stop * square) for part in chosen)
            _swap(array[..., rows, columns], first, second)
    if batch.tokens is not None:
        _swap(batch.tokens[:, *chosen], first, second)
    names = list(batch.names)
    names[first], names[second] = (
        f"{names[a]} with a part of {names[b]}" for a, b in ((first, second), (second, first))
    )
    return replace(batch, names=tuple(names))


def _swap(array: np.ndarray, first: int, second: int) -> None:
    array[[first, second]] = array[[second, first]]
