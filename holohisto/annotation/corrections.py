"""What was corrected in a delivered file of objects: kept, changed, added and deleted ones."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from holohisto.annotation.delivered import (
    CLASS,
    MODEL,
    OUTLINE,
    SLIDE,
    OutlineFingerprint,
    delivered_objects,
)
from holohisto.annotation.formats import Drawing
from holohisto.errors import HolohistoError

KEPT_IOU, CHANGED_IOU = 0.99, 0.1
"""Intersection over union from which an object is kept, and above which it is a changed one."""


@dataclass(frozen=True)
class DrawnOutline:
    """An object of a file, with what it carries."""

    name: str
    """Its class."""
    key: str
    """Its id; empty if it has none."""
    shape: shapely.Geometry
    """Its outline, as drawn."""
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass
class Corrections:
    """What became of the delivered objects of one class."""

    kept: int = 0
    changed: int = 0
    added: int = 0
    deleted: int = 0
    area_before: float = 0.0
    """Area of the changed objects as delivered, pixels of level 0."""
    area_after: float = 0.0
    """Area of the changed objects as corrected, pixels of level 0."""
    overlaps: list[float] = field(default_factory=list)
    """Intersection over union of changed objects; empty without the delivered file."""

    @property
    def delivered(self) -> int:
        """Number of delivered objects."""
        return self.kept + self.changed + self.deleted


@dataclass(frozen=True)
class Comparison:
    """A corrected file compared with what was delivered."""

    classes: dict[str, Corrections]
    """By class, in the order of the classes that were asked for."""
    models: tuple[str, ...] = ()
    """Models that delivered the objects, where they carry this."""
    slides: tuple[str, ...] = ()
    """First digits of the fingerprints of the slides for which they were delivered."""


def compare(path: Path, classes: Sequence[str], delivered: Path | None = None) -> Comparison | None:
    """Compare a corrected file with the delivered one.

    Objects are the same if they have the same id, or else if their outlines overlap. Without the
    delivered file, the metadata of the corrected objects are used: the fingerprint of each
    outline as delivered, and the number of delivered objects.

    Args:
        path: The corrected file.
        classes: Names of the classes to compare; case makes no difference.
        delivered: The delivered file.

    Returns:
        The comparison; None if no delivered file is given and no object carries metadata.

    Raises:
        HolohistoError: a file cannot be read.
    """
    corrected = outlines_of(path, classes)
    facts = {
        key: tuple(sorted({str(item.metadata[key]) for item in corrected if key in item.metadata}))
        for key in (MODEL, SLIDE)
    }
    if delivered is not None:
        before = outlines_of(delivered, classes)
        found = {
            name: _compared(_of_class(before, name), _of_class(corrected, name)) for name in classes
        }
    elif not facts[SLIDE]:
        return None
    else:
        found = {name: _from_metadata(corrected, name) for name in classes}
    return Comparison(found, facts[MODEL], facts[SLIDE])


def outlines_of(path: Path, classes: Sequence[str]) -> list[DrawnOutline]:
    """Read the objects of the classes from a file of drawn objects.

    Objects without a class are of the only class, if there is one only.

    Raises:
        HolohistoError: the file cannot be read, or an outline makes no sense.
    """
    known = {name.lower(): name for name in classes}
    items = []
    for number, drawn in Drawing(path).objects():
        names = [known[name.lower()] for name in drawn.names if name.lower() in known]
        if not drawn.names and len(classes) == 1:
            names = list(classes)
        if drawn.left_out or not names:
            continue
        try:
            shape = _shape(drawn.polygons())
        except (KeyError, TypeError, ValueError, IndexError, shapely.GEOSException) as error:
            raise HolohistoError(
                path, f"the geometry of object {number} makes no sense: {error}"
            ) from error
        if not shapely.is_empty(shape):
            items.append(DrawnOutline(names[0], drawn.key, shape, drawn.metadata))
    return items


def _shape(polygons: Iterable[list[np.ndarray]]) -> shapely.Geometry:
    singles = [shapely.make_valid(shapely.Polygon(rings[0], rings[1:])) for rings in polygons]
    return singles[0] if len(singles) == 1 else shapely.union_all(singles)


def _of_class(items: Iterable[DrawnOutline], name: str) -> list[DrawnOutline]:
    return [item for item in items if item.name == name]


def _compared(before: list[DrawnOutline], after: list[DrawnOutline]) -> Corrections:
    """Compare the objects of one class by id, then those left over by their outlines."""
    pairs = _pairs_by_id(before, after)
    left = [i for i in range(len(before)) if i not in pairs]
    taken = set(pairs.values())
    right = [j for j in range(len(after)) if j not in taken]
    pairs |= _pairs_by_overlap(before, after, left, right)
    found = Corrections(added=len(after) - len(pairs), deleted=len(before) - len(pairs))
    for i, j in pairs.items():
        iou = _iou(before[i].shape, after[j].shape)
        if iou >= KEPT_IOU:
            found.kept += 1
            continue
        found.changed += 1
        found.area_before += float(shapely.area(before[i].shape))
        found.area_after += float(shapely.area(after[j].shape))
        found.overlaps.append(iou)
    return found


def _pairs_by_id(before: list[DrawnOutline], after: list[DrawnOutline]) -> dict[int, int]:
    """Indices of objects with the same id, which must occur once in each file."""
    times = [Counter(item.key for item in items) for items in (before, after)]
    places = {item.key: j for j, item in enumerate(after)}
    return {
        i: places[item.key]
        for i, item in enumerate(before)
        if item.key and all(count[item.key] == 1 for count in times)
    }


def _pairs_by_overlap(
    before: list[DrawnOutline], after: list[DrawnOutline], left: list[int], right: list[int]
) -> dict[int, int]:
    """Pair the objects `left` and `right`, the largest intersection over union first."""
    tree = shapely.STRtree([after[j].shape for j in right])
    candidates = []
    for i in left:
        for n in tree.query(before[i].shape, predicate="intersects").tolist():
            iou = _iou(before[i].shape, after[right[n]].shape)
            if iou > CHANGED_IOU:
                candidates.append((-iou, i, right[n]))
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for _, i, j in sorted(candidates):
        if i not in pairs and j not in taken:
            pairs[i] = j
            taken.add(j)
    return pairs


def _iou(one: shapely.Geometry, other: shapely.Geometry) -> float:
    common = float(shapely.area(shapely.intersection(one, other)))
    union = float(shapely.area(one) + shapely.area(other)) - common
    return common / union if union else 0.0


def _from_metadata(items: Iterable[DrawnOutline], name: str) -> Corrections:
    """Compare the objects of one class with what they carry.

    A copy of an object carries the same metadata: the first one counts, the others are added. An
    object that was given another class is deleted from its own and added to the other.
    """
    found, seen = Corrections(), set()
    delivered = 0
    for item in items:
        delivered = max(delivered, delivered_objects(item.metadata).get(name, 0))
        if item.name != name:
            continue
        before = OutlineFingerprint.parse(item.metadata.get(OUTLINE))
        if before is None or before in seen or item.metadata.get(CLASS) != name:
            found.added += 1
            continue
        seen.add(before)
        after = OutlineFingerprint.of(item.shape)
        if before.is_same(after):
            found.kept += 1
        else:
            found.changed += 1
            found.area_before += before.area
            found.area_after += after.area
    found.deleted = max(0, delivered - found.kept - found.changed)
    return found
