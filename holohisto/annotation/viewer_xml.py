"""XML of slide viewers: ASAP, Aperio ImageScope, and HALO, which writes the same elements.

The parser expands nothing: a document type, where entities are declared, is refused.
"""

import gzip
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast
from xml.parsers import expat

import numpy as np
import shapely

from holohisto.annotation.drawn import DrawnObject, Polygon, closed, ellipse, rectangle
from holohisto.annotation.json_text import GZIP_MAGIC

CHUNK, LARGEST_ELEMENT = 2**16, 2**21
"""Bytes that are parsed at a time, and the largest number of bytes of a start tag or a comment. An
unfinished one is parsed again with every chunk."""
LARGEST_DEPTH = 100
"""Largest depth of elements in elements."""
POINT_TAGS = ("Coordinate", "Vertex", "V")
ASAP_AREAS = ("Polygon", "Spline", "Rectangle")
ASAP_WITHOUT_GROUP = "None"
RECTANGLES, ELLIPSES, WITHOUT_AREA = ("1", "Rectangle"), ("2", "Ellipse"), ("3", "4", "Ruler")
"""Types of a region: numbers in ImageScope, words in HALO."""

Attributes = dict[str, str]
Points = list[tuple[float, float]]


def objects(path: Path) -> Iterator[DrawnObject]:
    """Yield the objects of a file.

    Args:
        path: XML, plain or gzipped.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no XML of these viewers, or a number makes no sense.
    """
    reader = _Reader()
    with path.open("rb") as file:
        packed = file.read(2) == GZIP_MAGIC
    with cast(BinaryIO, gzip.open(path) if packed else path.open("rb")) as file:
        reader.parse(file)
    for layer in reader.layers:
        yield from layer.objects()


class _Layer:
    """An element `Annotation`: an object of ASAP, a layer of regions of the other viewers."""

    def __init__(self, attributes: Attributes) -> None:
        self.attributes = attributes
        self.points: Points = []
        self.regions: list[tuple[Attributes, Points]] = []
        self.description = ""

    def objects(self) -> Iterator[DrawnObject]:
        if "PartOfGroup" in self.attributes:
            yield self._of_asap()
            return
        negative = [region for region in self.regions if region[0].get("NegativeROA") == "1"]
        for attributes, points in self.regions:
            if attributes.get("NegativeROA") != "1":
                names = attributes.get("Text"), self.attributes.get("Name"), self.description
                holes = [points for _, points in negative]
                kind = attributes.get("Type", "0")
                yield DrawnObject(_given(*names), partial(_region, kind, points, holes))

    def _of_asap(self) -> DrawnObject:
        group = self.attributes["PartOfGroup"]
        names = _given("" if group == ASAP_WITHOUT_GROUP else group)
        if self.attributes.get("Type", "Polygon") not in ASAP_AREAS:
            return DrawnObject(names)
        return DrawnObject(names, lambda: [[closed(self.points)]])


class _Reader:
    """Collects the layers of a file while expat parses it."""

    def __init__(self) -> None:
        self.layers: list[_Layer] = []
        self._open: list[str] = []

    def parse(self, file: BinaryIO) -> None:
        parser = expat.ParserCreate()
        parser.StartDoctypeDeclHandler = _refuse_document_type
        parser.StartElementHandler = self._start
        parser.EndElementHandler = lambda tag: self._open.pop()
        length = 0
        try:
            while chunk := file.read(CHUNK):
                parser.Parse(chunk)
                length += len(chunk)
                if length - parser.CurrentByteIndex > LARGEST_ELEMENT:
                    raise ValueError(f"an element has more than {LARGEST_ELEMENT} bytes")
            parser.Parse(b"", True)
        except (expat.ExpatError, LookupError) as error:  # an unknown encoding
            raise ValueError(f"it is no whole XML: {error}") from error

    def _start(self, tag: str, attributes: Attributes) -> None:
        if not self._open and tag not in ("ASAP_Annotations", "Annotations"):
            raise ValueError(f"it is XML of another tool, its root is {tag[:40]}")
        if len(self._open) > LARGEST_DEPTH:
            raise ValueError(f"more than {LARGEST_DEPTH} elements hold one another")
        self._open.append(tag)
        if tag == "Annotation":
            self.layers.append(_Layer(attributes))
        elif not self.layers:
            return
        layer = self.layers[-1]
        if tag == "Region":
            layer.regions.append((attributes, []))
        elif tag in POINT_TAGS:
            points = layer.regions[-1][1] if layer.regions else layer.points
            points.append((_number(attributes, "X"), _number(attributes, "Y")))
        elif tag == "Attribute" and not layer.regions:
            layer.description = layer.description or attributes.get("Value", "")


def _refuse_document_type(*_: object) -> None:
    raise ValueError("it declares a document type, which no viewer writes")


def _number(attributes: Attributes, name: str) -> float:
    """A coordinate; some viewers write the decimal comma of the computer's language."""
    if name not in attributes:
        raise ValueError(f"a point without {name}")
    return float(attributes[name].replace(",", "."))


def _given(*names: str | None) -> tuple[str, ...]:
    stripped = [name.strip() for name in names if name]
    return tuple(dict.fromkeys(name for name in stripped if name))


def _region(kind: str, points: Points, negative: list[Points]) -> Iterator[Polygon]:
    """Yield the polygons of a region, without the negative regions of its layer."""
    if kind in WITHOUT_AREA or len(points) < 2:
        return
    if kind in RECTANGLES and len(points) == 2:
        ring = rectangle(points)
    elif kind in ELLIPSES:  # the corners of the rectangle around it
        (left, top), (right, bottom) = np.min(points, axis=0), np.max(points, axis=0)
        ring = ellipse(left, top, right, bottom)
    else:
        ring = closed(points)
    holes = [hole for hole in map(closed, negative) if _meets(hole, ring)]
    yield from _without(ring, holes) if holes else [[ring]]


def _meets(one: np.ndarray, other: np.ndarray) -> bool:
    low, high = (np.stack([f(one, axis=0), f(other, axis=0)]) for f in (np.min, np.max))
    return bool((low.max(axis=0) < high.min(axis=0)).all())


def _without(ring: np.ndarray, holes: list[np.ndarray]) -> Iterator[Polygon]:
    """Yield the polygons of a ring without holes that may cross its border."""
    rings = [shapely.make_valid(shapely.Polygon(one)) for one in (ring, *holes)]
    rest = rings[0].difference(shapely.union_all(rings[1:]))
    for part in getattr(rest, "geoms", [rest]):
        if isinstance(part, shapely.Polygon) and not part.is_empty:
            yield [np.asarray(edge.coords)[:, :2] for edge in (part.exterior, *part.interiors)]
