"""One-to-one matching of predicted with annotated objects, and their entries in the metrics."""

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
from holohisto.slide.scale import first_pixels


def match_objects(
    predicted: np.ndarray, annotated: np.ndarray, pairs: np.ndarray, iou: float
) -> np.ndarray:
    """Match objects one to one whose intersection over union is at least `iou`.

    Above 0.5 an object has at most one partner; among exact ties at 0.5 as many pairs as possible
    are matched (`scipy.sparse.csgraph.maximum_bipartite_matching`).

    Args:
        predicted: areas of the predicted objects, (n,) int.
        annotated: areas of the annotated objects, (m,) int.
        pairs: (k, 3) int: predicted object, annotated object, pixels they share.
        iou: limit, >= 0.5.

    Returns:
        The annotated object of each predicted object, or -1: (n,) int64.
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


def overlaps(
    first: Runs, first_objects: np.ndarray, second: Runs, second_objects: np.ndarray
) -> np.ndarray:
    """Pixels that objects of two masks share.

    Args:
        first: runs of one mask, (n,).
        first_objects: number of each run's object, (n,) int.
        second: runs of the other mask, (m,).
        second_objects: number of each run's object, (m,) int.

    Returns:
        (k, 3) int64: number of the first object, number of the second object, pixels.
    """
    i, j, shared = rle.common(first, second)
    triples = np.stack([first_objects[i], second_objects[j], shared], axis=1)
    return summed(triples.astype(np.int64))


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
    """Highest intersection over union of each object with any object of the other mask, else 0.

    Args:
        predicted: areas of the predicted objects, (n,) int.
        annotated: areas of the annotated objects, (m,) int.
        pairs: (k, 3) int: predicted object, annotated object, pixels they share.

    Returns:
        (n,) and (m,) float64.
    """
    best = np.zeros(len(predicted)), np.zeros(len(annotated))
    first, second, shared = pairs.T
    iou = shared / (predicted[first] + annotated[second] - shared)
    np.maximum.at(best[0], first, iou)
    np.maximum.at(best[1], second, iou)
    return best


@dataclass(frozen=True)
class Matching:
    """The objects of one mask (n of them), compared with those of the other."""

    matched: np.ndarray
    """(n,) bool: whether the object has a partner."""
    iou: np.ndarray
    """(n,) float64: highest intersection over union with any object of the other mask."""


def object_table(table: Table, frame: Frame, matching: Matching | None) -> list[dict[str, Any]]:
    """One entry per predicted object.

    `area_um2` is in square micrometres; `x` and `y` are the centre of mass and `box` the left, top,
    right and bottom, in level-0 pixels. `matched` and `iou` are None where the class is not
    annotated.

    Args:
        table: the objects, in working pixels.
        frame: of the slide.
        matching: with the annotated objects; None: the class is not annotated.
    """
    return [
        {
            **entry,
            "probability": round(float(probability), 4),
            "matched": None if matching is None else bool(matching.matched[i]),
            "iou": None if matching is None else round(float(matching.iou[i]), 4),
        }
        for i, (entry, probability) in enumerate(
            zip(_entries(table, frame), table.probability, strict=True)
        )
    ]


def missed_table(table: Table, frame: Frame, matching: Matching) -> list[dict[str, Any]]:
    """One entry per annotated object without a match, as in `object_table`."""
    return [
        {**entry, "iou": round(float(matching.iou[i]), 4)}
        for i, entry in enumerate(_entries(table, frame))
        if not matching.matched[i]
    ]


def _entries(table: Table, frame: Frame) -> Iterator[dict[str, Any]]:
    """Area, centre and box of each object."""
    scale = frame.scale
    corners = [first_pixels((scale.x, scale.y)[i % 2], table.box[:, i]) for i in range(4)]
    boxes = np.minimum(np.stack(corners, axis=1), [*frame.size, *frame.size])
    centres = table.centre * (float(scale.x), float(scale.y))
    for area, (x, y), box in zip(table.area, centres, boxes, strict=True):
        yield {
            "area_um2": round(float(area) * frame.pixel_um2, 3),
            "x": round(float(x), 2),
            "y": round(float(y), 2),
            "box": box.tolist(),
        }
