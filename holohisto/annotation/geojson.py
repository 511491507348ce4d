"""GeoJSON as every version of QuPath, and other tools, write it.

QuPath names the kind of an object `objectType` (since 0.4), `object_type` (0.3), or in the `id` of
the feature (0.2: `PathTileObject`). An object may hold others: `childObjects` or `children`.
"""

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

from holohisto.annotation.drawn import DrawnObject, Polygon, closed

AREAS = ("Polygon", "MultiPolygon", "GeometryCollection")
GEOMETRIES = (*AREAS, "Point", "MultiPoint", "LineString", "MultiLineString")
ROOT = "root"
NO_ANNOTATIONS = {"tile": "tiles", "tmacore": "TMA cores"}
"""QuPath's kinds of objects that are no annotation, and how they are reported."""
DETECTIONS = ("detection", "cell")
CHILDREN = ("childObjects", "children")
DEEPEST = 50
"""Largest depth of objects in objects."""


def objects(feature: Any, depth: int = 0) -> Iterator[DrawnObject]:
    """Yield the object of a feature, then all objects that it holds.

    Args:
        feature: A parsed GeoJSON feature.
        depth: Number of objects that hold this one.

    Raises:
        ValueError, TypeError, KeyError, IndexError: the feature makes no sense.
    """
    if not isinstance(feature, dict) or feature.get("type") != "Feature":
        raise ValueError("it is no feature")
    if depth > DEEPEST:
        raise ValueError(f"more than {DEEPEST} objects hold one another")
    properties = feature.get("properties") or {}
    if not isinstance(properties, dict):
        raise ValueError("its properties are no object")
    if _kind(feature, properties) != ROOT:
        yield _object(feature, properties)
    for holder in (properties, feature):
        for key in CHILDREN:
            children = holder.get(key) or []
            if not isinstance(children, list):
                raise ValueError(f"{key} is no list")
            for child in children:
                yield from objects(child, depth + 1)


def geometry_object(geometry: dict[str, Any]) -> DrawnObject:
    """Return a geometry that stands alone, without a feature, as an object without class."""
    return DrawnObject((), partial(_polygons, geometry))


def _object(feature: dict[str, Any], properties: dict[str, Any]) -> DrawnObject:
    kind, names = _kind(feature, properties), _names(properties)
    geometry = feature.get("geometry") or {}
    if not isinstance(geometry, dict):
        raise ValueError("its geometry is no object")
    if kind in NO_ANNOTATIONS:
        return DrawnObject(names, left_out=NO_ANNOTATIONS[kind])
    if geometry and _plane(geometry) != (0, 0):
        return DrawnObject(names, left_out="objects on other planes than the first")
    key, metadata = feature.get("id"), properties.get("metadata")
    return DrawnObject(
        names,
        partial(_polygons, geometry),
        detection=kind in DETECTIONS,
        key=key if isinstance(key, str) else "",
        metadata=metadata if isinstance(metadata, dict) else {},
    )


def _kind(feature: dict[str, Any], properties: dict[str, Any]) -> str:
    """The kind of an object in lower-case letters; "" where the file does not state it."""
    kind = properties.get("objectType") or properties.get("object_type")
    if not kind and isinstance(feature.get("id"), str):
        named = re.fullmatch(r"(?:Path)?(\w+?)Object", feature["id"])
        kind = named[1] if named else ""
    return re.sub(r"[^a-z]", "", str(kind or "").lower()).removesuffix("object")


def _names(properties: dict[str, Any]) -> tuple[str, ...]:
    """The name of the classification, in any form that a version of QuPath writes.

    A derived class, `Glomerulus: sclerosed`, is also the class before the colon.
    """
    classification = properties.get("classification")
    if isinstance(classification, dict):
        names = classification.get("names")
        joined = ": ".join(map(str, names)) if isinstance(names, list) else None
        classification = classification.get("name") or joined
    name = str(classification or "").strip()
    return tuple(dict.fromkeys([name, name.split(":")[0].strip()])) if name else ()


def _plane(geometry: dict[str, Any]) -> tuple[int, int]:
    """Number in depth and in time of the plane of a geometry."""
    plane = geometry.get("plane")
    if not isinstance(plane, dict):
        return 0, 0
    return int(plane.get("z") or 0), int(plane.get("t") or 0)


def _polygons(geometry: dict[str, Any], depth: int = 0) -> Iterator[Polygon]:
    """Yield the polygons of a geometry; lines and points have no area."""
    kind = geometry.get("type")
    if geometry and kind not in GEOMETRIES:
        raise ValueError("its type is none of GeoJSON")
    if depth > DEEPEST:
        raise ValueError(f"more than {DEEPEST} collections hold one another")
    if kind == "GeometryCollection":
        for member in geometry["geometries"]:
            if not isinstance(member, dict):
                raise ValueError("a member of its collection is no geometry")
            yield from _polygons(member, depth + 1)
    elif kind in AREAS:
        polygons = [geometry["coordinates"]] if kind == "Polygon" else geometry["coordinates"]
        for rings in polygons:
            if rings:  # QuPath writes an empty polygon as []
                yield [closed(ring) for ring in rings]
