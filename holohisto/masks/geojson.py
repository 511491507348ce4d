"""Objects as QuPath annotations: GeoJSON in level-0 pixels from the corner of the scanned part."""

import contextlib
import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import numpy as np
import shapely

from holohisto.annotation.delivered import metadata, object_id
from holohisto.config.sections import Classes
from holohisto.masks import outlines
from holohisto.masks.cleaning import Bands, Objects
from holohisto.masks.components import Table
from holohisto.masks.frame import Frame
from holohisto.masks.overlay import Overlay

HEAD, TAIL = '{"type": "FeatureCollection", "features": [', "]}\n"


def write(
    path: Path,
    bands: Bands,
    objects: dict[int, Objects],
    frame: Frame,
    classes: Classes,
    simplify_um: float,
    overlay: Overlay,
) -> None:
    """Write the outlines of all classes, object by object, and add each to the overlay.

    Args:
        path: File to write; gzipped if it ends in .gz.
        bands: The labels.
        objects: The objects of each class, by its bit.
        frame: The slide.
        classes: The classes, in the order of their bits.
        simplify_um: Largest shift of an outline when points are left out, µm; the overlay gets the
            exact outlines.
        overlay: The picture that the outlines are drawn into.
    """
    names = list(classes)
    counts = {name: len(objects[bit].table) for bit, name in enumerate(names)}
    separator = "\n"
    with _text_file(path) as file:
        file.write(HEAD)
        for bit, numbers, polygons in outlines.polygons_of(bands, objects):
            exact = outlines.scaled(polygons, frame.scale, frame.size)
            thinned = outlines.thin(exact, simplify_um / max(frame.mpp))
            if any(frame.corner):
                thinned = shapely.transform(thinned, lambda points: points - frame.corner)
            areas, table = shapely.area(exact), objects[bit].table
            colour = classes[names[bit]].colour
            for text in features(thinned, numbers, areas, table, frame, names[bit], colour, counts):
                file.write(separator + text)
                separator = ",\n"
            overlay.add(exact, colour)
        file.write(TAIL)
    for name, number in counts.items():
        overlay.name_objects(name, number, classes[name].colour)


@contextlib.contextmanager
def _text_file(path: Path) -> Iterator[TextIO]:
    """A text file to write, gzipped when it ends in .gz; the same text gives the same bytes."""
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(path.open("wb"))
        if path.suffix == ".gz":
            packed = gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0)
            file = stack.enter_context(packed)
        yield stack.enter_context(io.TextIOWrapper(file, encoding="utf-8"))


def features(
    polygons: np.ndarray,
    numbers: np.ndarray,
    areas: np.ndarray,
    table: Table,
    frame: Frame,
    name: str,
    colour: str,
    counts: dict[str, int],
) -> Iterator[str]:
    """Yield the JSON text of each object of one class.

    Args:
        polygons: (n,) shapely outlines in level-0 pixels.
        numbers: (n,) int, their rows in `table`.
        areas: (n,) float, exact areas in level-0 pixels, before points were left out.
        table: Measures of the class's objects.
        frame: The slide.
        name: Name of the class.
        colour: Colour of the class, #rrggbb.
        counts: Number of delivered objects of each class.
    """
    probability = table.probability
    rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    for polygon, number, area in zip(polygons, numbers.tolist(), areas, strict=True):
        feature = {
            "type": "Feature",
            "id": object_id(frame.fingerprint, frame.model, name, polygon),
            "geometry": geometry(polygon),
            "properties": {
                "objectType": "annotation",
                "name": f"{name} {number + 1}",
                "classification": {"name": name, "color": rgb},
                "measurements": {
                    "Area µm^2": round(float(area) * frame.mpp[0] * frame.mpp[1], 3),
                    "Mean probability": round(float(probability[number]), 4),
                },
                "metadata": metadata(frame.fingerprint, frame.model, name, polygon, counts),
            },
        }
        yield json.dumps(feature)


def geometry(polygon: shapely.Geometry) -> dict[str, object]:
    """GeoJSON of a polygon, outer ring first; several polygons become a MultiPolygon."""
    rings = [_rings(single) for single in shapely.get_parts(polygon)]
    if len(rings) == 1:
        return {"type": "Polygon", "coordinates": rings[0]}
    return {"type": "MultiPolygon", "coordinates": rings}


def _rings(polygon: shapely.Polygon) -> list[list[list[float]]]:
    return [
        [[_short(x), _short(y)] for x, y in ring.coords]
        for ring in (polygon.exterior, *polygon.interiors)
    ]


def _short(value: float) -> float:
    """Integers without a decimal point: nearly all coordinates are pixel edges."""
    return int(value) if value == int(value) else round(value, 3)
