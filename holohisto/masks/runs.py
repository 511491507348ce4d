"""Run-length encoded masks: the work on objects grows with their outlines, not their areas."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


@dataclass(frozen=True)
class Runs:
    """Maximal horizontal stretches of set pixels, in reading order; all arrays (n,) int64."""

    y: np.ndarray
    """Row."""
    start: np.ndarray
    """First column."""
    end: np.ndarray
    """Column after the last."""

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: np.ndarray | slice) -> "Runs":
        return Runs(self.y[index], self.start[index], self.end[index])

    @property
    def length(self) -> np.ndarray:
        """Pixels of each run, (n,) int64."""
        return self.end - self.start


NOTHING = Runs(*[np.zeros(0, np.int64)] * 3)


def find(mask: np.ndarray, top: int = 0) -> Runs:
    """Runs of `mask`, (h, w) bool, whose first row is row `top` of the slide."""
    height, width = mask.shape
    if not mask.any():
        return NOTHING
    edges = np.empty((height, width + 1), bool)
    edges[:, 0], edges[:, -1] = mask[:, 0], mask[:, -1]
    np.not_equal(mask[:, 1:], mask[:, :-1], out=edges[:, 1:-1])
    y, x = np.divmod(np.flatnonzero(edges), width + 1)
    return Runs(y[::2] + top, x[::2], x[1::2])


def complement(runs: Runs, rows: tuple[int, int], width: int) -> Runs:
    """Runs of the pixels outside `runs` in the rows `rows[0]` to `rows[1] - 1` of a raster."""
    every = np.arange(*rows, dtype=np.int64)
    return without(Runs(every, np.zeros_like(every), np.full_like(every, width)), runs)


def merge(first: Runs, second: Runs) -> Runs:
    """Union of two sets of runs that share no pixel; stretches that touch become one."""
    if not len(second):
        return first
    y, start, end = (
        np.concatenate(pair)
        for pair in ((first.y, second.y), (first.start, second.start), (first.end, second.end))
    )
    order = np.lexsort((start, y))
    y, start, end = y[order], start[order], end[order]
    opens = np.ones(len(y), bool)
    opens[1:] = (y[1:] != y[:-1]) | (start[1:] != end[:-1])
    return Runs(y[opens], start[opens], end[np.append(opens[1:], True)])


def without(runs: Runs, cuts: Runs) -> Runs:
    """Difference of runs and `cuts`, each of which lies within one of the runs."""
    if not len(cuts):
        return runs
    stride = int(runs.end.max()) + 1
    starts = np.concatenate([runs.y * stride + runs.start, cuts.y * stride + cuts.end])
    ends = np.concatenate([cuts.y * stride + cuts.start, runs.y * stride + runs.end])
    starts.sort()
    ends.sort()
    kept = starts < ends
    y, start = np.divmod(starts[kept], stride)
    return Runs(y, start, ends[kept] - y * stride)


def chain(sets: Sequence[Runs]) -> Runs:
    """Concatenate sets of runs; in reading order if the sets are."""
    return Runs(
        *(np.concatenate([getattr(runs, name) for runs in sets]) for name in ("y", "start", "end"))
    )


def paint(runs: Runs, rows: tuple[int, int], width: int) -> np.ndarray:
    """The mask of `runs`: (rows[1] - rows[0], width) bool; the inverse of `find`."""
    height = rows[1] - rows[0]
    if not len(runs):
        return np.zeros((height, width), bool)
    steps = np.zeros((height, width + 1), np.int8)
    y = runs.y - rows[0]
    steps[y, runs.start] = 1
    steps[y, runs.end] -= 1
    return np.cumsum(steps[:, :-1], axis=1, dtype=np.int8).view(bool)


def meetings(
    first: Runs, second: Runs, *, rows_apart: int, diagonal: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Indices (i, j) of runs of `first` that meet runs of `second` `rows_apart` rows below.

    They meet when they share a column, or, with `diagonal`, when their corners touch.
    """
    if not len(first) or not len(second):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    stride = int(max(first.end.max(), second.end.max())) + 2
    row = (first.y + rows_apart) * stride
    low = np.searchsorted(
        second.y * stride + second.end, row + first.start, "left" if diagonal else "right"
    )
    high = np.searchsorted(
        second.y * stride + second.start, row + first.end, "right" if diagonal else "left"
    )
    count = np.maximum(high - low, 0)
    i = np.repeat(np.arange(len(first)), count)
    before = np.cumsum(count) - count
    return i, np.arange(len(i)) - np.repeat(before - low, count)


def common(first: Runs, second: Runs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices (i, j) of runs of `first` and `second` that overlap, and by how many pixels."""
    i, j = meetings(first, second, rows_apart=0, diagonal=False)
    start = np.maximum(first.start[i], second.start[j])
    return i, j, np.minimum(first.end[i], second.end[j]) - start


def label(runs: Runs, *, diagonal: bool) -> tuple[int, np.ndarray]:
    """Number the connected components of a mask: how many, and that of each run, (n,) int32."""
    if not len(runs):
        return 0, np.zeros(0, np.int32)
    return graph(len(runs), *meetings(runs, runs, rows_apart=1, diagonal=diagonal))


def graph(nodes: int, i: np.ndarray, j: np.ndarray) -> tuple[int, np.ndarray]:
    """Connected components of the graph with edges (i, j): how many, and that of each node."""
    edges = coo_array((np.ones(len(i), np.int8), (i, j)), shape=(nodes, nodes))
    return connected_components(edges, directed=False)


def sums(runs: Runs, values: np.ndarray, top: int, zoom: int) -> np.ndarray:
    """Sum over each run of a coarse map, `zoom` pixels to a value; (n,) int64.

    Args:
        runs: The runs.
        values: (rows, columns) uint8, whose first row covers the rows from `top` on.
        top: First row of the slide that `values` covers, a multiple of `zoom`.
        zoom: Pixels to a value, in both directions.
    """
    before = np.zeros((values.shape[0], values.shape[1] + 1), np.int64)
    np.cumsum(values, axis=1, out=before[:, 1:])
    row = (runs.y - top) // zoom

    def up_to(x: np.ndarray) -> np.ndarray:
        cell, rest = np.divmod(x, zoom)
        last = np.minimum(cell, values.shape[1] - 1)
        return before[row, cell] * zoom + rest * values[row, last].astype(np.int64)

    return up_to(runs.end) - up_to(runs.start)
