"""Objects: which of the predicted ones match which of the annotated ones."""

from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from holohisto.masks import runs as rle
from holohisto.masks.components import Table
from holohisto.masks.frame import Frame
from holohisto.masks.runs import Runs
from holohisto.metrics.counts import dice


def match_objects(
    predicted: np.ndarray, annotated: np.ndarray, pairs: np.ndarray, iou: float
) -> np.ndarray:
    """Match objects one to one whose intersection over union is at least `iou`.

    Above 0.5 an object has one partner at most; of exact ties at 0.5 the largest possible
    number of pairs is matched.

    Args:
        predicted: areas of the predicted objects, (n,) int.
        annotated: areas of the annotated objects, (m,) int.
        pairs: (k, 3) int: predicted object, annotated object, pixels they share.
        iou: limit, >= 0.5.

    Returns:
        Of each predicted object its annotated object, or -1: (n,) int64.
    """
    shared = pairs[:, 2]
    union = predicted[pairs[:, 0]] + annotated[pairs[:, 1]] - shared
    close = pairs[shared >= iou * union * (1 - 1e-12)]
    if not len(close):
        return np.full(len(predicted), -1, np.int64)
    graph = csr_array(
        (np.ones(len(close), np.int8), (close[:, 0], close[:, 1])),
        shape=(len(predicted), len(annotated)),
    )
    return maximum_bipartite_matching(graph, perm_type="column").astype(np.int64)


def object_scores(matched: int, predicted: int, annotated: int) -> dict[str, float]:
    """Counts, precision, recall and F1; all 1 where there are no objects at all."""
    extra, missed = predicted - matched, annotated - matched
    empty = 1.0 if not predicted and not annotated else 0.0
    return {
        "tp": matched,
        "fp": extra,
        "fn": missed,
        "precision": matched / predicted if predicted else empty,
        "recall": matched / annotated if annotated else empty,
        "f1": dice(matched, extra, missed),
    }


def overlaps(first: Runs, one: np.ndarray, second: Runs, other: np.ndarray) -> np.ndarray:
    """Pixels that objects share: (k, 3) int64 of object numbers `one`, `other`, pixels."""
    i, j, shared = rle.common(first, second)
    return summed(np.stack([one[i], other[j], shared], axis=1).astype(np.int64))


def summed(pairs: np.ndarray) -> np.ndarray:
    """Add up the third column of rows that agree in the first two."""
    if not len(pairs):
        return pairs
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    new = np.ones(len(pairs), bool)
    new[1:] = (pairs[1:, :2] != pairs[:-1, :2]).any(axis=1)
    result = pairs[new]
    result[:, 2] = np.add.reduceat(pairs[:, 2], np.flatnonzero(new))
    return result


def object_table(table: Table, frame: Frame, match: np.ndarray | None) -> list[dict[str, Any]]:
    """One entry a predicted object; x, y is its centre of mass in level-0 pixels.

    `matched` is None where nobody annotated the class.
    """
    centre = table.centre * frame.factor
    return [
        {
            "area_um2": round(float(area) * frame.pixel_um2, 3),
            "x": round(float(x), 2),
            "y": round(float(y), 2),
            "probability": round(float(probability), 4),
            "matched": None if match is None else bool(match[i] >= 0),
        }
        for i, (area, (x, y), probability) in enumerate(
            zip(table.area, centre, table.probability, strict=True)
        )
    ]
