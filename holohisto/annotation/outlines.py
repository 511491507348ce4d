"""Annotations that are outlines: QuPath's GeoJSON in level-0 pixels, drawn band by band.

A pixel is inside where its centre is, as `masks.outlines` draws along the edges of pixels: what was
exported without thinning comes back pixel by pixel.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from holohisto.annotation.geojson import features
from holohisto.config.sections import Classes
from holohisto.errors import HolohistoError

logger = logging.getLogger(__name__)

NO_ANNOTATIONS = ("root", "tile", "tmaCore")
"""QuPath's object types that are nobody's drawing."""
UNCLASSIFIED = "without class"
LEFT, TOP, RIGHT, BOTTOM = range(4)


class OutlineAnnotation:
    """Polygons of classes; threads may share them. Memory follows the number of corners."""

    def __init__(
        self,
        path: Path,
        classes: Classes,
        annotated: tuple[str, ...],
        size: tuple[int, int],
    ) -> None:
        """Read the corners of all polygons of the classes `annotated`.

        An object belongs to the class of its classification's name, or of the part before a colon;
        case makes no difference. Without classification it belongs to the only class, if there is
        one only.

        Args:
            path: GeoJSON, or the same gzipped.
            classes: in the order of their bits.
            annotated: names of the classes to look at.
            size: width and height of the slide's level 0.

        Raises:
            HolohistoError: damaged, or all polygons lie outside of the slide.
        """
        self.size = size
        bits = {name.lower(): bit for bit, name in enumerate(classes) if name in annotated}
        polygons = list(_polygons(path, bits))
        self._bit = np.array([bit for bit, _ in polygons], np.uint8)
        rings = [ring for _, polygon in polygons for ring in polygon]
        self._points = np.concatenate([np.zeros((0, 2)), *rings])
        self._last = np.zeros(len(self._points), bool)
        self._last[np.cumsum([len(ring) for ring in rings], dtype=np.int64) - 1] = True
        lengths = [sum(map(len, polygon)) for _, polygon in polygons]
        self._start = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        self._box = self._boxes()
        self._require_overlap(path)

    def bits(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Return (height, width) uint8, bit i for class i, of a rectangle of level 0."""
        box, result = self._box, np.zeros((height, width), np.uint8)
        met = (box[:, LEFT] < x + width) & (box[:, RIGHT] > x)
        met &= (box[:, TOP] < y + height) & (box[:, BOTTOM] > y)
        for bit in np.unique(self._bit[met]):
            which = np.flatnonzero(met & (self._bit == bit))
            row, start, end = self._stretches(which, (y, y + height))
            start, end = (np.clip(column, x, x + width) - x for column in (start, end))
            steps = np.zeros((height, width + 1), np.int16)
            np.add.at(steps, (row - y, start), 1)
            np.add.at(steps, (row - y, end), -1)
            inside = np.cumsum(steps[:, :-1], axis=1, dtype=np.int16) > 0
            result |= inside * np.uint8(1 << bit)
        return result

    def close(self) -> None:
        """Nothing is open."""

    def _boxes(self) -> np.ndarray:
        if not len(self._bit):
            return np.zeros((0, 4))
        start = self._start[:-1]
        low = np.minimum.reduceat(self._points, start, axis=0)
        return np.concatenate([low, np.maximum.reduceat(self._points, start, axis=0)], axis=1)

    def _require_overlap(self, path: Path) -> None:
        box, (width, height) = self._box, self.size
        inside = (box[:, LEFT] < width) & (box[:, TOP] < height)
        inside &= (box[:, RIGHT] > 0) & (box[:, BOTTOM] > 0)
        if len(box) and not inside.any():
            whole = [*box[:, :RIGHT].min(axis=0), *box[:, RIGHT:].max(axis=0)]
            raise HolohistoError(
                path,
                "all outlines lie outside of the slide",
                found="x {0:g} to {2:g}, y {1:g} to {3:g}".format(*whole),
                allowed=f"0 to {width} and 0 to {height}, level-0 pixels",
                advice="export them from the slide itself, in pixels",
            )

    def _stretches(
        self, which: np.ndarray, rows: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row, first column and column after the last of what polygons cover of some rows.

        Even-odd within a polygon, so that holes are free; all (n,) int64.
        """
        length = self._start[which + 1] - self._start[which]
        item = np.repeat(np.arange(len(which)), length)
        point = np.arange(length.sum()) + np.repeat(
            self._start[which] - np.concatenate([[0], np.cumsum(length)[:-1]]), length
        )
        edge = ~self._last[point]
        (x0, y0), (x1, y1) = self._points[point[edge]].T, self._points[point[edge] + 1].T
        # The rows whose centres lie in the half-open range of y: each is crossed once.
        first = np.maximum(np.ceil(np.minimum(y0, y1) - 0.5), rows[0]).astype(np.int64)
        after = np.minimum(np.ceil(np.maximum(y0, y1) - 0.5), rows[1]).astype(np.int64)
        count = np.maximum(after - first, 0)
        crossing = np.repeat(np.arange(len(count)), count)
        row = np.arange(len(crossing)) - np.repeat(np.cumsum(count) - count - first, count)
        slope = (x1 - x0)[crossing] / (y1 - y0)[crossing]
        x = x0[crossing] + (row + 0.5 - y0[crossing]) * slope
        order = np.lexsort((x, row, item[edge][crossing]))
        column = np.ceil(x[order] - 0.5).astype(np.int64)
        return row[order][::2], column[::2], column[1::2]


def _polygons(path: Path, bits: dict[str, int]) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Class bit and closed rings, each (n, 2) float64 x, y, of every polygon of the classes."""
    ignored: Counter[str] = Counter()
    for number, feature in enumerate(features(path), start=1):
        properties = feature.get("properties") or {}
        if not isinstance(properties, dict) or properties.get("objectType") in NO_ANNOTATIONS:
            continue
        name = _name(properties)
        bit = _bit(name, bits)
        if bit is None:
            ignored[name or UNCLASSIFIED] += 1
            continue
        try:
            yield from ((bit, polygon) for polygon in _rings(feature.get("geometry") or {}))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise HolohistoError(
                path,
                f"the geometry of object {number} makes no sense ({error})",
                allowed="Polygon or MultiPolygon of numbers",
            ) from error
    if ignored:
        told = ", ".join(f"{name} ({count})" for name, count in ignored.most_common(8))
        logger.warning(
            "%s: objects of other classes are left out: %s; looked for: %s",
            path,
            told,
            ", ".join(bits),
        )


def _name(properties: dict[str, Any]) -> str:
    """The name of the classification, in any of the forms that QuPath has written."""
    found = properties.get("classification")
    if isinstance(found, dict):
        names = found.get("names")
        found = found.get("name") or (": ".join(map(str, names)) if names else None)
    return str(found or "").strip()


def _bit(name: str, bits: dict[str, int]) -> int | None:
    if not name:
        return next(iter(bits.values())) if len(bits) == 1 else None
    known = bits.get(name.lower())
    return bits.get(name.split(":")[0].strip().lower()) if known is None else known


def _rings(geometry: dict[str, Any]) -> Iterator[list[np.ndarray]]:
    """The polygons of a geometry, each as its closed rings; lines and points have no area."""
    kind = geometry.get("type")
    if kind == "Polygon":
        yield [_closed(ring) for ring in geometry["coordinates"]]
    elif kind == "MultiPolygon":
        for polygon in geometry["coordinates"]:
            yield [_closed(ring) for ring in polygon]
    elif kind == "GeometryCollection":
        for part in geometry["geometries"]:
            yield from _rings(part)


def _closed(ring: Any) -> np.ndarray:
    points = np.asarray([point[:2] for point in ring], np.float64)
    if points.ndim != 2 or len(points) < 3 or not np.isfinite(points).all():
        raise ValueError("a ring is not a list of three points or more")
    if not np.array_equal(points[0], points[-1]):
        points = np.concatenate([points, points[:1]])
    return points
