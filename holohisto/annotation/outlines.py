"""Annotations as outlines: QuPath's GeoJSON in level-0 pixels, rasterised on demand.

A pixel is inside an outline where its centre is. As `masks.outlines` draws outlines along the edges
of pixels, a mask exported without simplification is read back pixel by pixel.
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
"""QuPath's object types that are no annotation."""
UNCLASSIFIED = "without class"
LEFT, TOP, RIGHT, BOTTOM = range(4)
"""Columns of the bounding boxes."""


class OutlineAnnotation:
    """The polygons of an annotation; threads may share them.

    Memory grows with the number of their points, not with the size of the slide.
    """

    def __init__(
        self,
        path: Path,
        classes: Classes,
        annotated: tuple[str, ...],
        size: tuple[int, int],
    ) -> None:
        """Read the points of all polygons of the annotated classes.

        The class of an object is named by its classification, or by the part of it before a colon;
        case makes no difference. An object without classification belongs to the annotated class
        where there is only one, and is ignored otherwise.

        Args:
            path: GeoJSON, or the same gzipped.
            classes: The classes in the order of their bits.
            annotated: Names of the classes to read.
            size: Width and height of the slide's level 0.

        Raises:
            HolohistoError: missing or damaged, or all polygons lie outside the slide.
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
        """Return the classes of a rectangle.

        Args:
            x: Left edge, level-0 pixels.
            y: Top edge, level-0 pixels.
            width: Width, level-0 pixels.
            height: Height, level-0 pixels.

        Returns:
            (height, width) uint8, bit i set where class i is.
        """
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
        """Do nothing: no file is open."""

    def _boxes(self) -> np.ndarray:
        """Bounding boxes of the polygons, (n, 4) float64."""
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
            extent = [*box[:, :RIGHT].min(axis=0), *box[:, RIGHT:].max(axis=0)]
            raise HolohistoError(
                path,
                "all outlines lie outside of the slide",
                found="x {0:g} to {2:g}, y {1:g} to {3:g}".format(*extent),
                allowed=f"0 to {width} and 0 to {height}, level-0 pixels",
                advice="export them from the slide itself, in pixels",
            )

    def _stretches(
        self, which: np.ndarray, rows: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Runs of pixels that polygons cover, by the even-odd rule, which leaves holes empty.

        Args:
            which: Numbers of the polygons, (m,) integers.
            rows: First row, and the row after the last.

        Returns:
            Row, first column, and column after the last of each run, each (n,) int64.
        """
        length = self._start[which + 1] - self._start[which]
        item = np.repeat(np.arange(len(which)), length)
        point = np.arange(length.sum()) + np.repeat(
            self._start[which] - np.concatenate([[0], np.cumsum(length)[:-1]]), length
        )
        edge = ~self._last[point]
        (x0, y0), (x1, y1) = self._points[point[edge]].T, self._points[point[edge] + 1].T
        # An edge crosses the rows whose centres lie in its half-open range of y, each once.
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
    """Yield the class bit and the closed rings of every polygon; a ring is (n, 2) float64 x, y."""
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
        names = ", ".join(f"{name} ({count})" for name, count in ignored.most_common(8))
        logger.warning(
            "%s: objects of other classes are left out: %s; looked for: %s",
            path,
            names,
            ", ".join(bits),
        )


def _name(properties: dict[str, Any]) -> str:
    """The name of the classification, in any form that a version of QuPath writes."""
    classification = properties.get("classification")
    if isinstance(classification, dict):
        names = classification.get("names")
        joined = ": ".join(map(str, names)) if names else None
        classification = classification.get("name") or joined
    return str(classification or "").strip()


def _bit(name: str, bits: dict[str, int]) -> int | None:
    """The bit of a classification's class; None where it is none of the classes."""
    if not name:
        return next(iter(bits.values())) if len(bits) == 1 else None
    known = bits.get(name.lower())
    return bits.get(name.split(":")[0].strip().lower()) if known is None else known


def _rings(geometry: dict[str, Any]) -> Iterator[list[np.ndarray]]:
    """Yield the closed rings of each polygon of a geometry; lines and points have no area."""
    kind = geometry.get("type")
    if kind == "Polygon":
        yield [_closed(ring) for ring in geometry["coordinates"]]
    elif kind == "MultiPolygon":
        for polygon in geometry["coordinates"]:
            yield [_closed(ring) for ring in polygon]
    elif kind == "GeometryCollection":
        for member in geometry["geometries"]:
            yield from _rings(member)


def _closed(ring: Any) -> np.ndarray:
    """A ring of GeoJSON as (n, 2) float64, its last point equal to its first."""
    points = np.asarray([point[:2] for point in ring], np.float64)
    if points.ndim != 2 or len(points) < 3 or not np.isfinite(points).all():
        raise ValueError("a ring is not a list of three points or more")
    if not np.array_equal(points[0], points[-1]):
        points = np.concatenate([points, points[:1]])
    return points
