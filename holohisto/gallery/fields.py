"""A typical field of a slide: the tissue, the annotation, every model, and the whole slide."""

from pathlib import Path
from typing import Any

import numpy as np

from holohisto.config.sections import GalleryOptions
from holohisto.gallery.choice import densest, objects_drawn
from holohisto.gallery.drawing import (
    LONGEST,
    FieldOfView,
    outlined,
    save_picture,
    shrunk,
    with_bar,
)
from holohisto.gallery.slides import GallerySlide
from holohisto.statistics.rows import group_of


def write_field(
    slide: GallerySlide, models: list[str], reference: str, options: GalleryOptions, folder: Path
) -> dict[str, Any]:
    """Write the pictures of the field that holds the most annotated objects.

    Args:
        slide: to show.
        models: to show side by side; a model without masks of this slide is left out.
        reference: model whose metrics locate the objects, and whose masks the whole slide shows.
        options: section `gallery`.
        folder: of the pictures.

    Returns:
        The slide's entry in gallery.json; positions and sizes in level-0 pixels.

    Raises:
        HolohistoError: a file of the slide is absent or broken.
    """
    record, side = slide.record, options.side
    field = _field(slide, reference, options.field_um)
    plain = shrunk(slide.pixels(field), side)
    width_um = field.size[0] * record.mpp
    pictures = [("input", "", with_bar(plain, width_um))]
    annotated = {name: slide.annotated(field, name) for name in slide.classes}
    pictures.append(("annotation", "", _with_outlines(plain, annotated, slide, side)))
    for model in models:
        if not all(slide.mask_path(model, name).exists() for name in slide.classes):
            continue
        predicted = {name: slide.predicted(field, model, name) for name in slide.classes}
        pictures.append(("model", model, _with_outlines(plain, predicted, slide, side)))
    pictures.append(("whole slide", reference, slide.whole(field, reference, side)))
    name = slide.row.slide
    return {
        "slide": name,
        "group": group_of(slide.row),
        "width_um": round(width_um, 1),
        "xy": field.xy,
        "size": field.size,
        "classes": slide.classes,
        "pictures": [
            {
                "what": content,
                "model": model,
                "file": save_picture(folder, f"{name}.field-{i}", picture),
            }
            for i, (content, model, picture) in enumerate(pictures)
        ],
    }


def _field(slide: GallerySlide, reference: str, side_um: float) -> FieldOfView:
    """The field with the most annotated objects; the slide's middle where there are none."""
    record = slide.record
    length = min(side_um / record.mpp, max(record.size), LONGEST)
    points = objects_drawn(slide.metrics(reference))
    middle = record.size[0] / 2, record.size[1] / 2
    square = np.array([1.0, record.mpp_y / record.mpp])  # pixels of one side, for oblong ones
    centre = (densest(points * square, length) / square).tolist() if len(points) else middle
    return FieldOfView.around(centre, length, record.size, record.scale)


def _with_outlines(
    picture: np.ndarray, masks: dict[str, np.ndarray], slide: GallerySlide, side: int
) -> np.ndarray:
    for name, mask in masks.items():
        picture = outlined(picture, shrunk(mask, side), slide.colour(name))
    return picture
