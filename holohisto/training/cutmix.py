"""CutMix (arXiv 1905.04899) for segmentation: pairs of training tiles exchange a rectangle.

A segmenter that attends to a whole tile can memorise the tiles of a small cohort; within the
surroundings of another tile it has to recognise the object itself (arXiv 1906.01916). No pixel is
lost or repeated: a pair shows the same pixels as without the exchange.
"""

from dataclasses import replace

from holohisto.tiles.rectangles import Rectangle, in_pixels, swap
from holohisto.training.slides import Batch


def exchange(batch: Batch, first: int, second: int, rectangle: Rectangle, square: int) -> Batch:
    """Exchange a rectangle between two tiles of a batch.

    Args:
        batch: Tiles whose sides are multiples of `square`; its arrays are changed in place.
        first: Index of a tile in the batch.
        second: Index of the other tile.
        rectangle: In squares of `square` pixels, each of which is one token where tokens are read.
        square: Side of a square, pixels.

    Returns:
        The batch, with the names of both tiles changed.
    """
    for array in (batch.rgb, batch.target, batch.known):
        if array is not None:
            rows, columns = in_pixels(rectangle, square)
            swap(array[..., rows, columns], first, second)
    if batch.tokens is not None:
        swap(batch.tokens[:, *rectangle], first, second)
    names = list(batch.names)
    names[first], names[second] = (
        f"{names[a]} with a part of {names[b]}" for a, b in ((first, second), (second, first))
    )
    return replace(batch, names=tuple(names))
