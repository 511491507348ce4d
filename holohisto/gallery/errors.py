"""The largest false positives and false negatives of a slide, at full resolution."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from holohisto.config.sections import GalleryOptions
from holohisto.gallery.choice import largest_errors
from holohisto.gallery.drawing import (
    LONGEST,
    WHITE,
    FieldOfView,
    outlined,
    save_picture,
    shrunk,
    with_bar,
)
from holohisto.gallery.slides import GallerySlide
from holohisto.statistics.rows import group_of

SMALLEST_UM = 100.0
"""Smallest side of the picture of an error, micrometres."""
MARGIN = 1.5
"""Side of the picture of an error, as a multiple of the error's longer side."""


def write_errors(
    slide: GallerySlide, reference: str, options: GalleryOptions, folder: Path
) -> dict[str, Any]:
    """Write a picture of each error.

    Args:
        slide: to show.
        reference: model whose errors are shown.
        options: section `gallery`.
        folder: of the pictures.

    Returns:
        The slide's entry in gallery.json: areas in square micrometres, x and y in level-0 pixels.

    Raises:
        HolohistoError: a file of the slide is absent or broken.
    """
    result: dict[str, Any] = {"slide": slide.row.slide, "group": group_of(slide.row)}
    errors = largest_errors(slide.metrics(reference), options.errors)
    for kind, entries in errors.items():
        result[kind] = []
        for i, entry in enumerate(entries):
            picture, facts = _error(slide, reference, entry, options.side)
            file = save_picture(folder, f"{slide.row.slide}.{kind}-{i}", picture)
            keys = ("class", "area_um2", "iou", "x", "y")
            result[kind].append({"file": file, **{key: entry.get(key) for key in keys}, **facts})
    return result


def _error(
    slide: GallerySlide, reference: str, entry: dict[str, Any], side: int
) -> tuple[np.ndarray, dict[str, Any]]:
    """Picture of an error with both outlines, and its width and reduction."""
    name = entry["class"]
    field = object_field(slide, entry["box"], (entry["x"], entry["y"]), side)
    masks = slide.annotated(field, name), slide.predicted(field, reference, name)
    return object_picture(slide, field, zip(masks, (WHITE, slide.colour(name)), strict=True), side)


def object_field(
    slide: GallerySlide, box: Sequence[float], centre: tuple[float, float], side: int
) -> FieldOfView:
    """The field that holds a whole object, or only its middle if it is too large.

    Args:
        slide: of the object.
        box: left, top, right and bottom of the object, level-0 pixels.
        centre: of mass, level-0 pixels.
        side: of the picture, pixels; the field is not smaller.
    """
    record = slide.record
    left, top, right, bottom = box
    longest = max(right - left, (bottom - top) * record.mpp_y / record.mpp)
    length = max(MARGIN * longest, SMALLEST_UM / record.mpp, side)
    middle = (left + right) / 2, (top + bottom) / 2
    if length > LONGEST:
        length, middle = LONGEST, centre
    return FieldOfView.around(middle, length, record.size, record.scale)


def object_picture(
    slide: GallerySlide, field: FieldOfView, masks: Iterable[tuple[np.ndarray, str]], side: int
) -> tuple[np.ndarray, dict[str, Any]]:
    """Picture of a field with the outlines of masks, and its width and reduction.

    Args:
        slide: to show.
        field: of it.
        masks: of the field, (h, w) bool, each with its colour.
        side: longest side of the picture, pixels; a larger field is reduced.
    """
    picture = shrunk(slide.pixels(field), side)
    for mask, colour in masks:
        picture = outlined(picture, shrunk(mask, side), colour)
    width_um = field.size[0] * slide.record.mpp
    return with_bar(picture, width_um), {
        "width_um": round(width_um, 1),
        "reduced": round(field.size[0] / picture.shape[1], 2),
    }
