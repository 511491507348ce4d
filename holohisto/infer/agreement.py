"""How much the labels in bf16 differ from those in fp32, on a few tiles of the slide."""

from itertools import chain

import numpy as np

from holohisto.infer.job import Job
from holohisto.infer.pipeline import ReadInputs
from holohisto.infer.predictor import Predictor
from holohisto.tiles.grid import Tile

TILES = 3
"""Tiles that are computed in both precisions, at equal intervals."""


def precision_agreement(predictor: Predictor, read: ReadInputs, job: Job) -> float | None:
    """Return the share of pixels whose classes are the same in bf16 and in fp32.

    Args:
        predictor: The segmenter; None is returned if it has nothing to be compared with.
        read: Reads the inputs of a tile.
        job: What is segmented.
    """
    other = predictor.in_fp32()
    tiles = [tile for tile in chain(*job.rows) if job.wanted(tile)]
    if other is None or not tiles:
        return None
    count = min(TILES, len(tiles))
    equal = [
        _equal(predictor, other, read, tiles[len(tiles) * n // count], job.threshold)
        for n in range(count)
    ]
    return float(np.mean(equal))


def _equal(
    predictor: Predictor, other: Predictor, read: ReadInputs, tile: Tile, threshold: float
) -> float:
    batch = predictor.stacked([read(tile)])
    size = tile.height, tile.width
    labels = [each(each.prepared(batch), size)[0] >= threshold for each in (predictor, other)]
    return float((labels[0] == labels[1]).all(axis=0).mean())
