"""Exact outlines of objects with their holes: polygons along the edges of pixels."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely

from holohisto.masks import runs as rle
from holohisto.masks.cleaning import Bands, Objects
from holohisto.masks.components import BOTTOM
from holohisto.masks.runs import Runs
from holohisto.slide.scale import Scale

POLYGON, MULTIPOLYGON = 3, 6
"""Shapely's type ids."""


def trace(runs: Runs, number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the polygon of each object in pixel-edge coordinates: valid, its area the pixels.

    Args:
        runs: Runs of any number of objects, in any order.
        number: Object of each run, (n,) int.

    Returns:
        The sorted object numbers, (m,) int, and their shapely polygons, (m,); an object connected
        only by corners is a MultiPolygon.
    """
    if not len(runs):
        return np.zeros(0, np.int64), np.zeros(0, object)
    item, x, y, turn = _corners(runs, number.astype(np.int64))
    order, first = _rings(_partners(item, x, y, turn))
    points = np.stack([x[order], y[order]], axis=1).astype(np.float64)
    size = np.diff(np.append(first, len(order)))
    rings: Any = shapely.linearrings(points, indices=np.repeat(np.arange(len(first)), size))
    objects, polygon = np.unique(item[order[first]], return_inverse=True)
    polygons: Any = shapely.polygons(rings, indices=polygon)
    return objects, valid(polygons)


def valid(polygons: np.ndarray) -> np.ndarray:
    """Mend rings that touch themselves, (n,) shapely geometries; lines and points are dropped."""
    polygons = polygons.copy()
    wrong = ~shapely.is_valid(polygons)
    polygons[wrong] = shapely.make_valid(polygons[wrong])
    kinds = shapely.get_type_id(polygons)
    for i in np.flatnonzero(~np.isin(kinds, (POLYGON, MULTIPOLYGON))):
        singles = [
            single
            for whole in shapely.get_parts(polygons[i])
            for single in shapely.get_parts(whole)
        ]
        polygons[i] = shapely.MultiPolygon([s for s in singles if s.geom_type == "Polygon"])
    return polygons


def thin(polygons: np.ndarray, tolerance: float) -> np.ndarray:
    """Leave out points that lie within `tolerance` pixels of the outline; polygons stay valid."""
    if not tolerance:
        return polygons
    thinned = valid(shapely.simplify(polygons, tolerance, preserve_topology=True))
    gone = shapely.is_empty(thinned)
    thinned[gone] = polygons[gone]
    return thinned


def scaled(polygons: np.ndarray, scale: Scale, size: tuple[int, int]) -> np.ndarray:
    """From working to level-0 pixels, cut at the border of a slide of `size`."""
    steps = float(scale.x), float(scale.y)
    return shapely.transform(polygons, lambda points: np.minimum(points * steps, size))


def _corners(
    runs: Runs, number: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Object, x, y and turn of the corners of the outlines, sorted by object, y, x.

    The turn is the sum of the signed corners of all runs at that point: 0 along a straight
    edge, +1 or -1 at a corner, +2 or -2 where two pixels touch by their corners only; such a
    point is in the list twice.
    """
    item = np.tile(number, 4)
    x = np.concatenate([runs.start, runs.end, runs.start, runs.end])
    y = np.concatenate([runs.y, runs.y, runs.y + 1, runs.y + 1])
    sign = np.repeat([1, -1, -1, 1], len(runs))
    order = np.lexsort((x, y, item))
    item, x, y = item[order], x[order], y[order]
    new = np.ones(len(x), bool)
    new[1:] = (item[1:] != item[:-1]) | (y[1:] != y[:-1]) | (x[1:] != x[:-1])
    first = np.flatnonzero(new)
    turn = np.add.reduceat(sign[order], first)
    first = np.repeat(first, np.abs(turn))
    return item[first], x[first], y[first], np.repeat(turn, np.abs(turn))


def _partners(
    item: np.ndarray, x: np.ndarray, y: np.ndarray, turn: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The other end of the vertical and of the horizontal edge at each corner.

    Sorted along a column, corners pair up into vertical edges; along a row, into horizontal
    ones. At a doubled point the pairing keeps the two pixels that touch together.
    """
    copy = np.zeros(len(x), np.int64)
    double = np.abs(turn) == 2
    copy[double] = np.arange(np.count_nonzero(double)) % 2
    column = np.lexsort((np.where(turn == 2, 1 - copy, copy), y, x, item))
    vertical = np.empty(len(x), np.int64)
    vertical[column[::2]], vertical[column[1::2]] = column[1::2], column[::2]
    return vertical, np.arange(len(x)) ^ 1


def _rings(partners: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Follow the edges: all corners ring by ring, and the index of each ring's first corner.

    The first corner of an object in reading order lies on its outer ring, so that comes first.
    """
    vertical, horizontal = (partner.tolist() for partner in partners)
    seen = bytearray(len(vertical))
    order: list[int] = []
    first: list[int] = []
    for corner in range(len(vertical)):
        if seen[corner]:
            continue
        first.append(len(order))
        while not seen[corner]:
            other = vertical[corner]
            seen[corner] = seen[other] = 1
            order += (corner, other)
            corner = horizontal[other]
    return np.array(order), np.array(first)


@dataclass
class Gathering:
    """Runs of objects that reach below the bands seen so far."""

    box: np.ndarray
    """Boxes of all objects, (n, 4)."""
    pending: list[tuple[Runs, np.ndarray]] = field(default_factory=list)

    def add(self, runs: Runs, number: np.ndarray, row: int) -> Iterator[tuple[Runs, np.ndarray]]:
        """Add the runs down to `row`; yield the runs and numbers of objects that are complete."""
        if len(runs):
            self.pending.append((runs, number))
        if not self.pending:
            return
        numbers = np.concatenate([number for _, number in self.pending])
        whole = self.box[numbers, BOTTOM] <= row
        if whole.any():
            together = rle.chain([runs for runs, _ in self.pending])
            self.pending = [(together[~whole], numbers[~whole])] if not whole.all() else []
            yield together[whole], numbers[whole]


def polygons_of(
    bands: Bands, objects: dict[int, Objects]
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Trace the delivered objects in one pass over the bands.

    Memory is bounded by the objects that are open at a time.

    Args:
        bands: The labels.
        objects: The objects of each class, by its bit.

    Yields:
        The bit of a class, rows of its table, (m,) int, and their exact polygons in working pixels,
        (m,) shapely geometries.
    """
    gatherings = {bit: Gathering(item.table.box) for bit, item in objects.items()}
    for band, rows, labels in bands:
        for bit, item in objects.items():
            runs, number = item.runs(labels, rows, band)
            for whole in gatherings[bit].add(runs, number, rows[1]):
                yield bit, *trace(*whole)
