"""The largest false positives and false negatives of a slide, at full resolution."""

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
    record, name = slide.record, entry["class"]
    left, top, right, bottom = entry["box"]
    # The field holds the whole error; a field larger than the picture is reduced.
    longest = max(right - left, (bottom - top) * record.mpp_y / record.mpp)
    length = max(MARGIN * longest, SMALLEST_UM / record.mpp, side)
    middle = (left + right) / 2, (top + bottom) / 2
    if length > LONGEST:
        length, middle = LONGEST, (entry["x"], entry["y"])
    field = FieldOfView.around(middle, length, record.size, record.scale)
    picture = shrunk(slide.pixels(field), side)
    masks = slide.annotated(field, name), slide.predicted(field, reference, name)
    for mask, colour in zip(masks, (WHITE, slide.colour(name)), strict=True):
        picture = outlined(picture, shrunk(mask, side), colour)
    reduced = field.size[0] / picture.shape[1]
    width_um = field.size[0] * record.mpp
    return with_bar(picture, width_um), {
        "width_um": round(width_um, 1),
        "reduced": round(reduced, 2),
    }
