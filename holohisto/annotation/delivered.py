"""What a delivered object carries, so that its corrected file shows what became of it.

QuPath keeps the `id` of a feature if it is a UUID (since 0.4) and the texts of
`properties.metadata` (since 0.5), also when the outline is changed. It does not keep measurements
then, nor members of the collection; it writes coordinates with two decimals.
"""

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any

import shapely

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://arxiv.org/abs/2407.03307")
SLIDE, MODEL, CLASS, OUTLINE, OBJECTS = (
    f"HoloHisto {fact}" for fact in ("slide", "model", "class", "outline", "objects")
)
"""Keys of the metadata of an object."""
DIGITS = 16
"""Digits of a slide's fingerprint in the metadata."""
SAME = 0.01
"""Largest relative difference between two outlines that are the same but for rounding."""


@dataclass(frozen=True)
class OutlineFingerprint:
    """Measures of an outline that depend neither on the order of its points nor on rounding.

    A digest of the coordinates would change when another tool rounds them.
    """

    area: float
    """Pixels of level 0."""
    length: float
    """Length of all rings, level-0 pixels."""
    x: float
    """Centre of mass, level-0 pixels."""
    y: float

    @classmethod
    def of(cls, outline: shapely.Geometry) -> "OutlineFingerprint":
        """Measure a polygon or a MultiPolygon."""
        centre = shapely.centroid(outline)
        measures = (
            shapely.area(outline),
            shapely.length(outline),
            *shapely.get_coordinates(centre)[0],
        )
        return cls(*(round(float(value), 2) for value in measures))

    @classmethod
    def parse(cls, text: object) -> "OutlineFingerprint | None":
        """Read the text of a fingerprint; None if it is none."""
        try:
            area, length, x, y = map(float, str(text).split())
        except ValueError:
            return None
        return cls(area, length, x, y) if area > 0 else None

    def __str__(self) -> str:
        return " ".join(f"{value:.2f}".rstrip("0").rstrip(".") for value in astuple(self))

    def is_same(self, other: "OutlineFingerprint") -> bool:
        """Whether two outlines are the same within SAME of area, length and diameter."""
        shift = max(abs(self.x - other.x), abs(self.y - other.y))
        return (
            abs(self.area - other.area) <= SAME * self.area
            and abs(self.length - other.length) <= SAME * self.length
            and shift <= SAME * self.area**0.5
        )


def object_id(fingerprint: str, model: str, name: str, outline: shapely.Geometry) -> str:
    """UUID of an object: the same for the same slide, model, class and outline.

    Args:
        fingerprint: Of the slide.
        model: Name of the model that found the object.
        name: Name of its class.
        outline: Its delivered outline.
    """
    digest = hashlib.sha256(shapely.to_wkb(outline)).hexdigest()
    return str(uuid.uuid5(NAMESPACE, f"{fingerprint}/{model}/{name}/{digest}"))


def metadata(
    fingerprint: str, model: str, name: str, outline: shapely.Geometry, objects: Mapping[str, int]
) -> dict[str, str]:
    """Texts that an object carries.

    Args:
        fingerprint: Of the slide.
        model: Name of the model that found the object.
        name: Name of its class.
        outline: Its delivered outline.
        objects: Number of delivered objects of each class.
    """
    return {
        SLIDE: fingerprint[:DIGITS],
        MODEL: model,
        CLASS: name,
        OUTLINE: str(OutlineFingerprint.of(outline)),
        OBJECTS: ", ".join(f"{name} {number}" for name, number in objects.items()),
    }


def delivered_objects(carried: Mapping[str, Any]) -> dict[str, int]:
    """Number of delivered objects of each class, from the metadata of one; empty if unknown."""
    entries = [entry.rsplit(" ", 1) for entry in str(carried.get(OBJECTS, "")).split(", ")]
    return {
        entry[0]: int(entry[1]) for entry in entries if len(entry) == 2 and entry[1].isdecimal()
    }
