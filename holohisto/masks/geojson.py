"""Objects as QuPath annotations: GeoJSON in level-0 pixels."""

import json
import uuid
from collections.abc import Iterator

import numpy as np
import shapely

from holohisto.masks.components import Table
from holohisto.masks.frame import Frame

HEAD, TAIL = '{"type": "FeatureCollection", "features": [', "]}\n"
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://arxiv.org/abs/2407.03307")


def features(
    polygons: np.ndarray,
    numbers: np.ndarray,
    areas: np.ndarray,
    table: Table,
    frame: Frame,
    name: str,
    colour: str,
) -> Iterator[str]:
    """Yield one JSON text an object.

    Args:
        polygons: outlines in level-0 pixels.
        numbers: of each, its row in `table`.
        areas: of each, its exact area in level-0 pixels, before points were left out.
        table: measures of the class's objects.
        frame: the slide.
        name: of the class.
        colour: of the class, #rrggbb.
    """
    probability = table.probability
    rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    for polygon, number, area in zip(polygons, numbers.tolist(), areas, strict=True):
        key = f"{frame.slide}/{frame.model}/{name}/{number}"
        feature = {
            "type": "Feature",
            "id": str(uuid.uuid5(NAMESPACE, key)),
            "geometry": geometry(polygon),
            "properties": {
                "objectType": "annotation",
                "name": f"{name} {number + 1}",
                "classification": {"name": name, "color": rgb},
                "measurements": {
                    "Area µm^2": round(float(area) * frame.mpp**2, 3),
                    "Mean probability": round(float(probability[number]), 4),
                },
            },
        }
        yield json.dumps(feature)


def geometry(polygon: shapely.Geometry) -> dict[str, object]:
    """GeoJSON of a polygon, outer ring first; several parts become a MultiPolygon."""
    parts = [_rings(part) for part in shapely.get_parts(polygon)]
    if len(parts) == 1:
        return {"type": "Polygon", "coordinates": parts[0]}
    return {"type": "MultiPolygon", "coordinates": parts}


def _rings(polygon: shapely.Polygon) -> list[list[list[float]]]:
    return [
        [[_short(x), _short(y)] for x, y in ring.coords]
        for ring in (polygon.exterior, *polygon.interiors)
    ]


def _short(value: float) -> float:
    """Integers without a decimal point: nearly all coordinates are pixel edges."""
    return int(value) if value == int(value) else round(value, 3)
