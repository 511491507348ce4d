"""Connected components of a mask read in row bands; a component may extend over several bands.

Memory grows with the number of components and the width of the slide, never with its height.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from holohisto.masks import runs as rle
from holohisto.masks.runs import Runs

LEFT, TOP, RIGHT, BOTTOM = range(4)


@dataclass(frozen=True)
class Table:
    """Measures of components, one row each, in the order of their first pixels."""

    area: np.ndarray
    """Pixels, (n,) int64."""
    moment: np.ndarray
    """Sums of 2x + 1 and 2y + 1 over the pixels, (n, 2) int64 (twice the pixel centres)."""
    weight: np.ndarray
    """Sum of the probability map, 0 to 255, over the pixels, (n,) int64."""
    box: np.ndarray
    """First column and row, and column and row after the last, (n, 4) int64."""

    def __len__(self) -> int:
        return len(self.area)

    def __getitem__(self, rows: np.ndarray) -> "Table":
        return Table(self.area[rows], self.moment[rows], self.weight[rows], self.box[rows])

    @property
    def centre(self) -> np.ndarray:
        """Centres of mass in pixel-edge coordinates, (n, 2) float: x, y."""
        return self.moment / (2 * self.area[:, None])

    @property
    def probability(self) -> np.ndarray:
        """Mean probability, 0 to 1, (n,) float."""
        return self.weight / (255 * self.area)


def measure(runs: Runs, weight: np.ndarray | None) -> Table:
    """Return the table of single runs; `weight` is (n,) int64, or None for 0."""
    length = runs.length
    return Table(
        length,
        np.stack([(runs.end + runs.start) * length, (2 * runs.y + 1) * length], axis=1),
        np.zeros(len(runs), np.int64) if weight is None else weight,
        np.stack([runs.start, runs.y, runs.end, runs.y + 1], axis=1),
    )


def group(table: Table, number: np.ndarray, count: int) -> Table:
    """Join the rows that have the same number; every number below `count` occurs."""
    if not count:
        return table
    order = np.argsort(number, kind="stable")
    first = np.searchsorted(number[order], np.arange(count))
    box = table.box[order]
    return Table(
        np.add.reduceat(table.area[order], first),
        np.add.reduceat(table.moment[order], first, axis=0),
        np.add.reduceat(table.weight[order], first),
        np.concatenate(
            [
                np.minimum.reduceat(box[:, :RIGHT], first, axis=0),
                np.maximum.reduceat(box[:, RIGHT:], first, axis=0),
            ],
            axis=1,
        ),
    )


def join(tables: list[Table]) -> Table:
    """Concatenate tables."""
    return Table(
        *(
            np.concatenate([getattr(table, name) for table in tables])
            for name in ("area", "moment", "weight", "box")
        )
    )


EMPTY = Table(
    np.zeros(0, np.int64),
    np.zeros((0, 2), np.int64),
    np.zeros(0, np.int64),
    np.zeros((0, 4), np.int64),
)


class Components:
    """Finds components band by band (`feed`, `finish`), then numbers the same bands again."""

    table: Table
    """Measures of the wanted components, after `finish`."""

    def __init__(self, *, diagonal: bool, wanted: Callable[[Table], np.ndarray]) -> None:
        """Start above the first row.

        Args:
            diagonal: True for 8-connectivity, False for 4-connectivity.
            wanted: Selects the components to keep by their measures, (n,) bool.
        """
        self.diagonal, self.wanted = diagonal, wanted
        self._bands: list[np.ndarray] = []  # per band: provisional id of each local component
        self._alias: list[np.ndarray] = [np.zeros(0, np.int64)]  # ids joined to a lower one
        self._kept: list[tuple[np.ndarray, Table]] = [(np.zeros(0, np.int64), EMPTY)]
        self._next = 0
        self._open, self._open_ids = EMPTY, np.zeros(0, np.int64)
        self._edge, self._edge_node = rle.NOTHING, np.zeros(0, np.int64)

    def feed(self, runs: Runs, rows: tuple[int, int], weight: np.ndarray | None = None) -> None:
        """Add the next band of the mask, the rows `rows[0]` to `rows[1] - 1`.

        Args:
            runs: Runs of the band.
            rows: First row of the band, and the row after its last.
            weight: Sum of the probability map over each run, (n,) int64.
        """
        count, local = rle.label(runs, diagonal=self.diagonal)
        known = len(self._open)
        top = np.flatnonzero(runs.y == rows[0])
        i, j = rle.meetings(self._edge, runs[top], rows_apart=1, diagonal=self.diagonal)
        total, node = rle.graph(known + count, self._edge_node[i], known + local[top[j]])
        table = join([self._open, group(measure(runs, weight), local, count)])
        table = group(table, node, total)
        bottom = runs.y == rows[1] - 1
        edge_node = node[known + local[bottom]]
        still_open = np.zeros(total, bool)
        still_open[edge_node] = True
        ids = self._name(table, node[:known], total, still_open)
        self._bands.append(ids[node[known:]].astype(np.int32))
        self._open, self._open_ids = table[still_open], ids[still_open]
        self._edge = runs[bottom]
        self._edge_node = (np.cumsum(still_open) - 1)[edge_node]

    def _name(
        self, table: Table, known: np.ndarray, total: int, still_open: np.ndarray
    ) -> np.ndarray:
        """Return ids: the lowest of a component so far, a new one if it may be kept, else -1."""
        ids = np.full(total, -1, np.int64)
        order = np.argsort(-self._open_ids, kind="stable")  # the lowest is written last
        ids[known[order]] = self._open_ids[order]
        same = ids[known]
        renamed = self._open_ids != same
        self._alias.append(np.stack([self._open_ids[renamed], same[renamed]], axis=1).ravel())
        keep = ~still_open
        keep[keep] = self.wanted(table[keep])
        new = (keep | still_open) & (ids < 0)
        ids[new] = self._next + np.arange(np.count_nonzero(new))
        self._next += np.count_nonzero(new)
        self._kept.append((ids[keep], table[keep]))
        return ids

    def finish(self) -> "Components":
        """End after the last band; from here on numbers are final."""
        last = self.wanted(self._open)
        self._kept.append((self._open_ids[last], self._open[last]))
        ids = np.concatenate([ids for ids, _ in self._kept])
        order = np.argsort(ids)
        self.table = join([table for _, table in self._kept])[order]
        final = np.full(self._next + 1, -1, np.int32)  # the last entry stands for id -1
        final[ids[order]] = np.arange(len(ids))
        pairs = np.concatenate(self._alias).reshape(-1, 2)
        root = np.arange(self._next + 1)
        root[pairs[:, 0]] = pairs[:, 1]
        while (root[root] != root).any():  # aliases point to lower ids, so this ends
            root = root[root]
        self._final = final[root]
        self._kept, self._alias = [], []
        return self

    def number(self, runs: Runs, band: int) -> np.ndarray:
        """Row in `table` of each run of a band fed before, -1 where not wanted, (n,) int32."""
        _, local = rle.label(runs, diagonal=self.diagonal)
        return self._final[self._bands[band][local]]
