"""Drawn objects: what every format of outlines is read into."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

FARTHEST = 1e9
"""Largest coordinate in pixels; beyond it, positions of pixels are no longer exact."""

Polygon = list[np.ndarray]
"""Closed rings, each (n, 2) float64 x, y; by the even-odd rule, the later ones are holes."""


@dataclass(frozen=True)
class DrawnObject:
    """One object of an annotation file."""

    names: tuple[str, ...]
    """Names that may be its class, the most specific first; empty where it has no class."""
    polygons: Callable[[], Iterable[Polygon]] = tuple
    """Returns its polygons, pixels of the picture on which it was drawn. Raises ValueError,
    TypeError, KeyError or IndexError where they make no sense; objects that are not read may."""
    left_out: str = ""
    """Why the object is no annotation, for example "tiles"; "" if it is one."""
    detection: bool = False
    """Whether a program found it (detections and cells of QuPath)."""
    key: str = ""
    """Its id in the file; empty where it has none."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """Further facts that it carries, by name."""


def closed(points: Any) -> np.ndarray:
    """Return a ring as (n, 2) float64 whose last point equals its first.

    Args:
        points: At least three points, each a sequence that begins with x and y, pixels.

    Raises:
        ValueError: it is no ring of finite numbers.
        TypeError: it is no sequence of points.
    """
    try:
        ring = np.asarray([point[:2] for point in points], np.float64)
    except OverflowError as error:
        raise ValueError("a number is too large") from error
    if ring.ndim != 2 or len(ring) < 3 or ring.shape[1] != 2:
        raise ValueError("a ring is not a list of three points or more")
    if not (np.abs(ring) <= FARTHEST).all():  # false for nan as well
        raise ValueError(f"a number is not between -{FARTHEST:g} and {FARTHEST:g}")
    return ring if np.array_equal(ring[0], ring[-1]) else np.concatenate([ring, ring[:1]])


def ellipse(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """Return the ellipse in a rectangle as a ring whose error is below 0.1 % of its radius."""
    angles = np.linspace(0, 2 * np.pi, 97)
    centre = np.array([left + right, top + bottom]) / 2
    radii = np.array([right - left, bottom - top]) / 2
    return closed(centre + radii * np.stack([np.cos(angles), np.sin(angles)], axis=1))


def rectangle(points: Sequence[Any]) -> np.ndarray:
    """Return the rectangle around points as a ring."""
    (left, top), (right, bottom) = box(points)
    return closed([[left, top], [right, top], [right, bottom], [left, bottom]])


def box(points: Sequence[Any]) -> tuple[list[float], list[float]]:
    """Return the smallest and the largest x, y of points."""
    corners = np.asarray([point[:2] for point in points], np.float64)
    if corners.ndim != 2 or corners.shape[1] != 2:
        raise ValueError("a corner is not x and y")
    return corners.min(axis=0).tolist(), corners.max(axis=0).tolist()


def shown(text: object, most: int = 40) -> str:
    """Return a name as it may stand in a message: one line of printable characters, not long."""
    line = " ".join(str(text).split())
    line = line if line.isprintable() else ascii(line)
    return line if len(line) <= most else line[: most - 3] + "..."


def shown_all(names: Iterable[object], most: int = 8) -> str:
    """Return names for a message, separated by commas, the first ones only."""
    texts = [shown(name) for name in names]
    return ", ".join(texts[:most]) + (", ..." if len(texts) > most else "")
