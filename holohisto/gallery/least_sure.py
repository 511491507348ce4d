"""The objects of which a model is least sure, on slides without annotation."""

from pathlib import Path
from typing import Any

import shapely

from holohisto.annotation.json_text import JsonText, open_text
from holohisto.config.sections import GalleryOptions
from holohisto.errors import HolohistoError
from holohisto.gallery.drawing import save_picture
from holohisto.gallery.errors import object_field, object_picture
from holohisto.gallery.slides import GallerySlide
from holohisto.statistics.rows import group_of

MISTAKES = (OSError, EOFError, ValueError, LookupError, TypeError, shapely.GEOSException)


def write_least_sure(
    slide: GallerySlide, model: str, options: GalleryOptions, folder: Path
) -> dict[str, Any]:
    """Write a picture of each of the objects with the lowest mean probability.

    Args:
        slide: to show.
        model: that found the objects.
        options: section `gallery`; as many objects are shown as errors of other slides.
        folder: of the pictures.

    Returns:
        The slide's entry in gallery.json: areas in square micrometres, x and y in level-0 pixels.

    Raises:
        HolohistoError: a file of the slide is absent or broken.
    """
    result: dict[str, Any] = {
        "slide": slide.row.slide,
        "group": group_of(slide.row),
        "objects": [],
    }
    for i, entry in enumerate(least_sure(slide, model, options.errors)):
        name = entry["class"]
        field = object_field(slide, entry.pop("box"), (entry["x"], entry["y"]), options.side)
        masks = [(slide.predicted(field, model, name), slide.colour(name))]
        picture, facts = object_picture(slide, field, masks, options.side)
        file = save_picture(folder, f"{slide.row.slide}.unsure-{i}", picture)
        result["objects"].append({"file": file, **entry, **facts})
    return result


def least_sure(slide: GallerySlide, model: str, number: int) -> list[dict[str, Any]]:
    """The delivered objects with the lowest mean probability, the lowest first.

    Returns:
        Their class, probability, area in square micrometres, centre and box in level-0 pixels.

    Raises:
        HolohistoError: the delivered outlines are absent or broken.
    """
    names = slide.all_classes
    path = slide.results.geojson(model, slide.row.slide)
    path = path if path.exists() else slide.results.geojson(model, slide.row.slide, gzipped=True)
    try:
        with open_text(path) as file:
            features = _features(JsonText(file))
        known = [f for f in features if f["properties"]["classification"]["name"] in names]
        known.sort(key=lambda feature: feature["properties"]["measurements"]["Mean probability"])
        return [_entry(slide, feature) for feature in known[:number]]
    except MISTAKES as error:
        raise HolohistoError(path, f"no outlines can be read from it: {error}") from error


def _features(text: JsonText) -> list[dict[str, Any]]:
    features: list[dict[str, Any]] = []
    for key in text.members():
        if key == "features":
            features = list(text.items())
        else:
            text.value()
    return features


def _entry(slide: GallerySlide, feature: dict[str, Any]) -> dict[str, Any]:
    properties, bounds = feature["properties"], slide.record.bounds
    left, top = bounds[:2] if bounds else (0, 0)  # QuPath counts from the scanned part
    polygon = shapely.geometry.shape(feature["geometry"])
    centre, box = polygon.centroid, polygon.bounds
    return {
        "class": properties["classification"]["name"],
        "probability": properties["measurements"]["Mean probability"],
        "area_um2": properties["measurements"]["Area µm^2"],
        "x": round(centre.x + left, 1),
        "y": round(centre.y + top, 1),
        "box": (box[0] + left, box[1] + top, box[2] + left, box[3] + top),
    }
