"""Scores of delivered masks against annotations: int64 counts, gathered band by band."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from holohisto.config import MaskOptions, MetricsOptions
from holohisto.masks import cleaning
from holohisto.masks import runs as rle
from holohisto.masks.cleaning import Bands, Objects, Probability
from holohisto.masks.components import Table
from holohisto.masks.frame import Frame
from holohisto.masks.runs import Runs

AS_IT_IS = MaskOptions(min_object_um2=0, max_hole_um2=0)


def counts(predicted: np.ndarray, annotated: np.ndarray) -> np.ndarray:
    """Pixels in both, predicted only, annotated only: (3,) int64, of two bool masks."""
    both = np.count_nonzero(predicted & annotated)
    return np.array(
        [both, np.count_nonzero(predicted) - both, np.count_nonzero(annotated) - both], np.int64
    )


def dice(both: int, extra: int, missed: int) -> float:
    """Dice = 2 tp / (2 tp + fp + fn), in int64; 1 where both masks are empty."""
    total = 2 * int(both) + int(extra) + int(missed)
    return 2 * int(both) / total if total else 1.0


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
    i, j = rle.meetings(first, second, rows_apart=0, diagonal=False)
    shared = np.minimum(first.end[i], second.end[j]) - np.maximum(first.start[i], second.start[j])
    return _summed(np.stack([one[i], other[j], shared], axis=1).astype(np.int64))


def _summed(pairs: np.ndarray) -> np.ndarray:
    """Add up the third column of rows that agree in the first two."""
    if not len(pairs):
        return pairs
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    new = np.ones(len(pairs), bool)
    new[1:] = (pairs[1:, :2] != pairs[:-1, :2]).any(axis=1)
    result = pairs[new]
    result[:, 2] = np.add.reduceat(pairs[:, 2], np.flatnonzero(new))
    return result


@dataclass
class Tally:
    """Pixel counts of one class, on a grid of tiles anchored at the slide's corner."""

    size: tuple[int, int]
    """Width and height, working pixels."""
    tile: tuple[int, int]
    """Width and height of a tile, working pixels."""
    foreground: np.ndarray = field(init=False)
    """tp, fp, fn in the foreground, (3,) int64."""
    tiles: np.ndarray = field(init=False)
    """tp, fp, fn of each tile, (rows, columns, 3) int64."""
    tissue: np.ndarray = field(init=False)
    """Foreground pixels of each tile, (rows, columns) int64."""
    outside: int = 0
    """Annotated pixels outside the foreground."""

    def __post_init__(self) -> None:
        """Start from zero."""
        columns, rows = (-(-s // t) for s, t in zip(self.size, self.tile, strict=True))
        self.foreground = np.zeros(3, np.int64)
        self.tiles = np.zeros((rows, columns, 3), np.int64)
        self.tissue = np.zeros((rows, columns), np.int64)

    def add(
        self, top: int, predicted: np.ndarray, annotated: np.ndarray, foreground: np.ndarray
    ) -> None:
        """Count a band whose first row is `top`: three masks (rows, width) bool."""
        something = predicted.any() or annotated.any()
        if something:
            self.foreground += counts(predicted & foreground, annotated & foreground)
            self.outside += int(np.count_nonzero(annotated & ~foreground))
        width, height = self.tile
        bottom = top + len(predicted)
        for row in range(top // height, -(-bottom // height)):
            low, high = max(row * height, top) - top, min((row + 1) * height, bottom) - top
            for column in range(self.tiles.shape[1]):
                part = np.s_[low:high, column * width : (column + 1) * width]
                self.tissue[row, column] += np.count_nonzero(foreground[part])
                if something:
                    self.tiles[row, column] += counts(predicted[part], annotated[part])

    def scores(self, factor: int) -> dict[str, Any]:
        """Counts and Dice of the foreground, of everything and of each tile with foreground."""
        tiles = []
        for row, column in np.argwhere(self.tissue > 0).tolist():
            xy = [column * self.tile[0] * factor, row * self.tile[1] * factor]
            tiles.append({"xy": xy, **_with_dice(self.tiles[row, column])})
        values = [tile["dice"] for tile in tiles]
        return {
            "foreground": _with_dice(self.foreground),
            "everywhere": _with_dice(self.tiles.sum(axis=(0, 1))),
            "tiles": tiles,
            "tile_dice": float(np.mean(values)) if values else None,
            "tiles_empty": sum(tile["tp"] + tile["fp"] + tile["fn"] == 0 for tile in tiles),
            "outside_foreground": self.outside,
        }


def _with_dice(three: np.ndarray) -> dict[str, Any]:
    both, extra, missed = (int(count) for count in three)
    return {"tp": both, "fp": extra, "fn": missed, "dice": dice(both, extra, missed)}


def score(
    labels: Bands,
    annotation: Bands,
    foreground: Callable[[tuple[int, int]], np.ndarray],
    frame: Frame,
    annotated: dict[int, bool],
    options: MetricsOptions,
    mask_options: MaskOptions,
    probability: Probability,
) -> dict[int, dict[str, Any]]:
    """Score the cleaned labels, as delivered, against the annotation as it is.

    Args:
        labels: at working resolution.
        annotation: at working resolution.
        foreground: the foreground of the rows from, to (working pixels): (rows, width) bool.
        frame: the slide.
        annotated: of each class bit, whether the annotation knows it.
        options: how to score.
        mask_options: how masks are cleaned.
        probability: map of the highest class probability.

    Returns:
        Of each class bit its entry in the metrics file.
    """
    known = [bit for bit, yes in annotated.items() if yes]
    found = cleaning.find(labels, list(annotated), frame.pixel_um2, mask_options, probability)
    truth = cleaning.find(annotation, known, frame.pixel_um2, AS_IT_IS)
    tallies = {bit: Tally(frame.working_size, options.tile) for bit in known}
    pairs = {bit: [np.zeros((0, 3), np.int64)] for bit in known}
    for (band, rows, pixels), (_, _, reference) in zip(labels, annotation, strict=True):
        tissue = foreground(rows)
        for bit in known:
            runs, number = found[bit].runs(pixels, rows, band)
            marked, item = truth[bit].runs(reference, rows, band)
            pairs[bit].append(overlaps(runs, number, marked, item))
            predicted = rle.paint(runs, rows, labels.size[0])
            tallies[bit].add(rows[0], predicted, (reference >> bit) & 1 != 0, tissue)
    scores: dict[int, dict[str, Any]] = {}
    for bit, yes in annotated.items():
        scores[bit] = {"annotated": yes}
        match = None
        if yes:
            shared = _summed(np.concatenate(pairs[bit]))
            match = match_objects(found[bit].table.area, truth[bit].table.area, shared, options.iou)
            scores[bit] |= tallies[bit].scores(frame.factor)
            scores[bit]["objects"] = _objects(match, truth[bit])
        scores[bit]["object_table"] = object_table(found[bit].table, frame, match)
    return scores


def _objects(match: np.ndarray, truth: Objects) -> dict[str, float]:
    return object_scores(int(np.count_nonzero(match >= 0)), len(match), len(truth.table))


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
