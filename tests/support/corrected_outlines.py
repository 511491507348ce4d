"""Delivered outlines, and what QuPath makes of them when somebody corrects and exports them."""

import json
from pathlib import Path

import shapely


def features_of(path: Path) -> list[dict]:
    return json.loads(path.read_text())["features"]


def write_features(path: Path, features: list[dict]) -> Path:
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def exported(feature: dict, shift: float = 0.0) -> dict:
    """A feature as QuPath 0.5 exports it: rings start elsewhere, two decimals, new properties."""
    geometry = feature["geometry"]
    polygons = geometry["coordinates"]
    polygons = [polygons] if geometry["type"] == "Polygon" else polygons
    moved = [[_turned(ring, shift) for ring in polygon] for polygon in polygons]
    moved = moved[0] if geometry["type"] == "Polygon" else moved
    properties = {key: value for key, value in feature["properties"].items() if key != "name"}
    return {
        "type": "Feature",
        "id": feature["id"],
        "geometry": {"type": geometry["type"], "coordinates": moved},
        "properties": {**properties, "isLocked": True},
    }


def changed(feature: dict, grow: float = 3.0) -> dict:
    """The feature with a larger outline; QuPath clears the measurements of such an object."""
    shape = shapely.from_geojson(json.dumps(feature["geometry"])).buffer(grow)
    properties = {k: v for k, v in feature["properties"].items() if k != "measurements"}
    return exported(
        {**feature, "geometry": json.loads(shapely.to_geojson(shape)), "properties": properties}
    )


def drawn(name: str, left: float, top: float, side: float = 30.0) -> dict:
    """A square that somebody drew."""
    return {
        "type": "Feature",
        "id": f"9b8b6f5c-0000-4000-8000-{int(left):06d}{int(top):06d}",
        "geometry": json.loads(shapely.to_geojson(shapely.box(left, top, left + side, top + side))),
        "properties": {"objectType": "annotation", "classification": {"name": name}},
    }


def without_ids(features: list[dict]) -> list[dict]:
    """The features as QuPath 0.3 exports them: neither ids nor metadata."""
    return [
        {
            "type": "Feature",
            "geometry": feature["geometry"],
            "properties": {
                "object_type": "annotation",
                "classification": feature["properties"]["classification"],
            },
        }
        for feature in features
    ]


def _turned(ring: list, shift: float) -> list:
    points = [[round(x + shift, 2), round(y + shift, 2)] for x, y in ring[:-1]]
    points = [*points[2:], *points[:2]][::-1]
    return [*points, points[0]]
