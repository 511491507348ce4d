"""JSON of labelme: labelled shapes of one picture."""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

from holohisto.annotation.drawn import DrawnObject, Polygon, closed, ellipse, rectangle

WITHOUT_AREA = ("line", "linestrip", "point", "points")


def is_labelme(document: dict[str, Any]) -> bool:
    """Whether a JSON document is labelme's."""
    return isinstance(document.get("shapes"), list)


def picture_size(document: dict[str, Any]) -> tuple[int, int] | None:
    """Return width and height of the picture; None where the file does not state them."""
    width, height = document.get("imageWidth"), document.get("imageHeight")
    return None if width is None or height is None else (int(width), int(height))


def objects(document: dict[str, Any]) -> Iterator[DrawnObject]:
    """Yield the shapes of a document, in its order.

    Raises:
        ValueError, TypeError, KeyError: it makes no sense.
    """
    for shape in document["shapes"]:
        label = str(shape.get("label") or "").strip()
        yield DrawnObject((label,) if label else (), partial(_polygons, shape))


def _polygons(shape: dict[str, Any]) -> Iterator[Polygon]:
    """Yield the polygon of a shape; lines and points have no area."""
    kind, points = shape.get("shape_type") or "polygon", shape["points"]
    if kind == "polygon":
        yield [closed(points)]
    elif kind == "rectangle":
        yield [rectangle(points)]
    elif kind == "circle":  # its centre, and a point on it
        (x, y), border = points
        radius = math.hypot(border[0] - x, border[1] - y)
        yield [ellipse(x - radius, y - radius, x + radius, y + radius)]
    elif kind not in WITHOUT_AREA:
        raise ValueError(f"it is a {kind}; polygons, rectangles and circles are read")
