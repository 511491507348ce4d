"""Polygons rasterised on demand, in bounded memory.

A pixel is inside a polygon where its centre is. As `masks.outlines` draws outlines along the edges
of pixels, a mask exported without simplification is read back pixel by pixel.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from holohisto.annotation.drawn import Polygon

LEFT, TOP, RIGHT, BOTTOM = range(4)
"""Columns of the bounding boxes."""
MOST_CROSSINGS = 2**20
"""Approximate number of crossings of edges and rows that are sorted at a time."""
MOST_PIXELS = 2**22
"""Approximate number of pixels that are filled at a time."""


class Polygons:
    """Polygons with a class each. Memory grows with the number of their points.

    Attributes:
        box: Left, top, right, bottom of each polygon, (n, 4) float64.
    """

    def __init__(self, polygons: Sequence[tuple[int, Polygon]]) -> None:
        """Keep the points of polygons.

        Args:
            polygons: The bit of the class and the closed rings, (n, 2) x, y each, of every polygon.
        """
        self._bit = np.array([bit for bit, _ in polygons], np.uint8)
        rings = [ring for _, polygon in polygons for ring in polygon]
        self._points = np.concatenate([np.zeros((0, 2)), *rings])
        self._last = np.zeros(len(self._points), bool)
        self._last[np.cumsum([len(ring) for ring in rings], dtype=np.int64) - 1] = True
        lengths = [sum(map(len, polygon)) for _, polygon in polygons]
        self._start = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        self.box = self._boxes()

    def __len__(self) -> int:
        return len(self._bit)

    def bits(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Return the classes of a rectangle.

        Args:
            x: Left edge, pixels.
            y: Top edge, pixels.
            width: Width, pixels.
            height: Height, pixels.

        Returns:
            (height, width) uint8, bit i set where class i is.
        """
        box, result = self.box, np.zeros((height, width), np.uint8)
        met = (box[:, LEFT] < x + width) & (box[:, RIGHT] > x)
        met &= (box[:, TOP] < y + height) & (box[:, BOTTOM] > y)
        for bit in np.unique(self._bit[met]):
            edges = self._edges(np.flatnonzero(met & (self._bit == bit)), (y, y + height))
            rows = max(1, MOST_PIXELS // max(1, width))
            for top in range(y, y + height, rows):
                for first, last in edges.bands(top, min(top + rows, y + height)):
                    inside = _filled(edges.runs(first, last), (x, first, width, last - first))
                    result[first - y : last - y] |= inside * np.uint8(1 << bit)
        return result

    def crossings(self, height: int) -> np.ndarray:
        """Return how often the edges of each polygon cross rows 0 to `height`, (n,) int64.

        Rasterising takes time in proportion to it.
        """
        if not len(self._bit):
            return np.zeros(0, np.int64)
        y = np.clip(self._points[:, 1], 0, height)
        rows = np.abs(np.diff(np.ceil(y - 0.5), append=0.0)).astype(np.int64)
        rows[self._last] = 0
        return np.add.reduceat(rows, self._start[:-1])

    def _boxes(self) -> np.ndarray:
        if not len(self._bit):
            return np.zeros((0, 4))
        start = self._start[:-1]
        low = np.minimum.reduceat(self._points, start, axis=0)
        return np.concatenate([low, np.maximum.reduceat(self._points, start, axis=0)], axis=1)

    def _edges(self, which: np.ndarray, rows: tuple[int, int]) -> "_Edges":
        """Edges of polygons that cross rows.

        Args:
            which: Numbers of the polygons, (m,) integers.
            rows: First row, and the row after the last.
        """
        length = self._start[which + 1] - self._start[which]
        item = np.repeat(np.arange(len(which)), length)
        point = np.arange(length.sum()) + np.repeat(
            self._start[which] - np.concatenate([[0], np.cumsum(length)[:-1]]), length
        )
        edge = ~self._last[point]
        start, end = self._points[point[edge]], self._points[point[edge] + 1]
        # An edge crosses the rows whose centres lie in its half-open range of y, each once.
        low, high = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
        first = np.maximum(np.ceil(low - 0.5), rows[0]).astype(np.int64)
        after = np.minimum(np.ceil(high - 0.5), rows[1]).astype(np.int64)
        kept = after > first
        return _Edges(item[edge][kept], start[kept], end[kept], first[kept], after[kept])


@dataclass(frozen=True)
class _Edges:
    """Edges of polygons."""

    item: np.ndarray
    """Number of the polygon of each edge, (n,) int64."""
    start: np.ndarray
    end: np.ndarray
    """Ends of each edge, (n, 2) float64 x, y."""
    first: np.ndarray
    after: np.ndarray
    """First row that each edge crosses, and the row after the last, (n,) int64."""

    def bands(self, top: int, bottom: int) -> Iterator[tuple[int, int]]:
        """Divide rows into bands that are not crossed too often, or are single rows."""
        if bottom - top > 1 and self._count(top, bottom)[0].sum() > MOST_CROSSINGS:
            middle = (top + bottom) // 2
            yield from self.bands(top, middle)
            yield from self.bands(middle, bottom)
        else:
            yield top, bottom

    def _count(self, top: int, bottom: int) -> tuple[np.ndarray, np.ndarray]:
        """Number of the rows that each edge crosses, and the first of them."""
        first = np.maximum(self.first, top)
        return np.maximum(np.minimum(self.after, bottom) - first, 0), first

    def runs(self, top: int, bottom: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Runs of pixels that polygons cover, by the even-odd rule, which leaves holes empty.

        Args:
            top: First row.
            bottom: The row after the last.

        Returns:
            Row, first column, and column after the last of each run, each (n,) int64.
        """
        count, first = self._count(top, bottom)
        crossing = np.repeat(np.arange(len(count)), count)
        row = np.arange(len(crossing)) - np.repeat(np.cumsum(count) - count - first, count)
        (x0, y0), (x1, y1) = self.start[crossing].T, self.end[crossing].T
        x = x0 + (row + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
        order = np.lexsort((x, row, self.item[crossing]))
        column = np.ceil(x[order] - 0.5).astype(np.int64)
        return row[order][::2], column[::2], column[1::2]


def _filled(
    runs: tuple[np.ndarray, np.ndarray, np.ndarray], rectangle: tuple[int, int, int, int]
) -> np.ndarray:
    """Fill the runs inside a rectangle x, y, width, height: (height, width) bool."""
    x, y, width, height = rectangle
    row, *columns = runs
    start, end = (np.clip(column, x, x + width) - x for column in columns)
    steps = np.zeros((height, width + 1), np.int32)
    np.add.at(steps, (row - y, start), 1)
    np.add.at(steps, (row - y, end), -1)
    return np.cumsum(steps[:, :-1], axis=1, dtype=np.int32) > 0
