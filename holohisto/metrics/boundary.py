"""Boundary F1: the agreement of two outlines within a stated tolerance.

The boundary of a mask is its set of pixels with an unset pixel to the left, right, above or below;
the border of the slide is no boundary. Precision is the share of the predicted boundary whose pixel
centres lie within the tolerance of a centre of the annotated boundary, recall the reverse, F1
their harmonic mean (Csurka et al., "What is a good evaluation measure for semantic
segmentation?", BMVC 2013). Memory follows the outlines near the current band.
"""

import math
from typing import Any

import numpy as np

from holohisto.masks import runs as rle
from holohisto.masks.runs import Runs

STEP = 64
"""Rows counted at a time: bounds the memory of noisy masks."""


def edge(rows: np.ndarray) -> np.ndarray:
    """Boundary pixels of all rows but the first and the last: (n, width) to (n - 2, width) bool."""
    middle = rows[1:-1]
    inner = rows[:-2] & rows[2:]
    inner[:, 1:] &= middle[:, :-1]
    inner[:, :-1] &= middle[:, 1:]
    return middle & ~inner


def widened(runs: Runs, radius: float, width: int) -> Runs:
    """All pixels whose centres lie within `radius` pixels of a pixel of `runs`.

    Args:
        runs: sorted by row.
        radius: in pixels, >= 0.
        width: of the slide, pixels; runs are cut off there.
    """
    reach = np.arange(-int(radius), int(radius) + 1)
    half = np.floor(np.sqrt(radius**2 - reach**2) + 1e-9).astype(np.int64)
    stride = width + 1
    row = (runs.y[:, None] + reach) * stride
    start = (row + np.maximum(runs.start[:, None] - half, 0)).ravel()
    end = (row + np.minimum(runs.end[:, None] + half, width)).ravel()
    order = np.argsort(start, kind="stable")
    start, end = start[order], np.maximum.accumulate(end[order])
    opens = np.ones(len(start), bool)
    opens[1:] = start[1:] > end[:-1]
    y, start = np.divmod(start[opens], stride)
    return Runs(y, start, end[np.append(opens[1:], True)] - y * stride)


def near(own: Runs, other: Runs, radius: float, width: int) -> int:
    """Number of pixels of `own` within `radius` pixels of `other`, both of one slide."""
    if not len(own) or not len(other):
        return 0
    _, _, pixels = rle.common(own, widened(other, radius, width))
    return int(pixels.sum())


class _Edge:
    """The boundary of a mask that arrives in bands, as runs; a row needs the row below it."""

    def __init__(self) -> None:
        self._held: np.ndarray | None = None
        self.runs = rle.NOTHING
        self.known = 0
        """Rows whose boundary is known."""

    def add(self, rows: np.ndarray) -> None:
        """Take the next rows, (n, width) bool."""
        held = rows[:1] if self._held is None else self._held
        joined = np.concatenate([held, rows])
        self._append(joined)
        self._held = joined[-2:]

    def finish(self) -> None:
        """Repeat the last row as its own lower neighbour."""
        if self._held is not None:
            self._append(np.concatenate([self._held, self._held[-1:]]))

    def _append(self, joined: np.ndarray) -> None:
        self.runs = rle.chain([self.runs, rle.find(edge(joined), self.known)])
        self.known += len(joined) - 2

    def between(self, top: int, bottom: int) -> Runs:
        low, high = np.searchsorted(self.runs.y, (top, bottom))
        return self.runs[low:high]


class Boundary:
    """Counts boundary pixels of a predicted and an annotated mask that arrive in bands."""

    def __init__(self, width: int, tolerance: float) -> None:
        """Start above the first row.

        Args:
            width: of the slide, pixels.
            tolerance: in pixels, >= 0.
        """
        self.width, self.tolerance = width, tolerance
        self._edges = _Edge(), _Edge()
        self._counted = 0
        self._pixels = np.zeros(2, np.int64)
        self._near = np.zeros(2, np.int64)

    def add(self, predicted: np.ndarray, annotated: np.ndarray) -> None:
        """Take the next rows of both masks, each (rows, width) bool."""
        for boundary, rows in zip(self._edges, (predicted, annotated), strict=True):
            boundary.add(rows)
        self._count(self._edges[0].known - int(self.tolerance))

    def scores(self) -> dict[str, Any]:
        """Counts, precision, recall and F1 after the last rows; 1 where both have no boundary."""
        for boundary in self._edges:
            boundary.finish()
        self._count(self._edges[0].known)
        predicted, annotated = self._pixels.tolist()
        predicted_near, annotated_near = self._near.tolist()
        empty = 0.0 if predicted or annotated else 1.0
        precision = predicted_near / predicted if predicted else empty
        recall = annotated_near / annotated if annotated else empty
        total = precision + recall
        return {
            "found": predicted,
            "found_near": predicted_near,
            "annotated": annotated,
            "annotated_near": annotated_near,
            "precision": precision,
            "recall": recall,
            "f1": 2 * precision * recall / total if total else 0.0,
        }

    def _count(self, bottom: int) -> None:
        """Count the rows above `bottom`, whose surroundings are known."""
        reach = math.floor(self.tolerance)
        for top in range(self._counted, bottom, STEP):
            end = min(top + STEP, bottom)
            for i, (own, other) in enumerate((self._edges, self._edges[::-1])):
                runs = own.between(top, end)
                around = other.between(top - reach, end + reach)
                self._pixels[i] += int(runs.length.sum())
                self._near[i] += near(runs, around, self.tolerance, self.width)
        self._counted = max(self._counted, bottom)
        for boundary in self._edges:
            boundary.runs = boundary.between(self._counted - reach, boundary.known)
