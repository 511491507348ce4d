"""Objects: which of the predicted ones match which of the annotated ones."""

from collections.abc import Iterator
from dataclasses import dataclass
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


def closest(
    predicted: np.ndarray, annotated: np.ndarray, pairs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Highest intersection over union of each object with any of the other side; 0 with none.

    Args:
        predicted: areas of the predicted objects, (n,) int.
        annotated: areas of the annotated objects, (m,) int.
        pairs: (k, 3) int: predicted object, annotated object, pixels they share.

    Returns:
        (n,) and (m,) float64.
    """
    best = np.zeros(len(predicted)), np.zeros(len(annotated))
    one, other, shared = pairs.T
    iou = shared / (predicted[one] + annotated[other] - shared)
    np.maximum.at(best[0], one, iou)
    np.maximum.at(best[1], other, iou)
    return best


@dataclass(frozen=True)
class Matching:
    """Which objects of one side have a partner on the other, and how close any comes."""

    found: np.ndarray
    """(n,) bool."""
    iou: np.ndarray
    """(n,) float64: highest intersection over union with any object of the other side."""


def object_table(table: Table, frame: Frame, matching: Matching | None) -> list[dict[str, Any]]:
    """One entry a predicted object.

    x, y is its centre of mass, `box` its left, top, right and bottom, in level-0 pixels. `matched`
    and `iou` are None where nobody annotated the class.
    """
    return [
        {
            **place,
            "probability": round(float(probability), 4),
            "matched": None if matching is None else bool(matching.found[i]),
            "iou": None if matching is None else round(float(matching.iou[i]), 4),
        }
        for i, (place, probability) in enumerate(
            zip(_places(table, frame), table.probability, strict=True)
        )
    ]


def missed_table(table: Table, frame: Frame, matching: Matching) -> list[dict[str, Any]]:
    """One entry an annotated object that no predicted one matches, as in `object_table`."""
    return [
        {**place, "iou": round(float(matching.iou[i]), 4)}
        for i, place in enumerate(_places(table, frame))
        if not matching.found[i]
    ]


def _places(table: Table, frame: Frame) -> Iterator[dict[str, Any]]:
    """Area, centre and box of each object."""
    boxes = np.minimum(table.box * frame.factor, [*frame.size, *frame.size])
    for area, (x, y), box in zip(table.area, table.centre * frame.factor, boxes, strict=True):
        yield {
            "area_um2": round(float(area) * frame.pixel_um2, 3),
            "x": round(float(x), 2),
            "y": round(float(y), 2),
            "box": box.tolist(),
        }
