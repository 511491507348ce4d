"""COCO's JSON: polygons of categories, of one picture."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from holohisto.annotation.drawn import DrawnObject, Polygon, closed


def is_coco(document: dict[str, Any]) -> bool:
    """Whether a JSON document is COCO's."""
    return {"annotations", "images"} <= set(document)


def picture_size(document: dict[str, Any]) -> tuple[int, int] | None:
    """Return width and height of the picture; None where the file does not state them.

    Raises:
        ValueError: it is of several pictures.
    """
    images = document["images"]
    if not isinstance(images, list) or len(images) != 1 or not isinstance(images[0], dict):
        count = len(images) if isinstance(images, list) else "unknown"
        raise ValueError(f"COCO of one picture is read, found {count}; write a file per slide")
    width, height = images[0].get("width"), images[0].get("height")
    return None if width is None or height is None else (int(width), int(height))


def objects(document: dict[str, Any]) -> Iterator[DrawnObject]:
    """Yield the objects of a COCO document, in its order.

    Raises:
        ValueError, TypeError, KeyError, IndexError: it makes no sense.
    """
    names = {
        category["id"]: str(category["name"]).strip()
        for category in document.get("categories") or []
    }
    for annotation in document["annotations"]:
        if (category := annotation.get("category_id")) not in names:
            raise ValueError(f"category {category!r} is not in its `categories`")
        name, drawn = names[category], annotation.get("segmentation")
        if not drawn:
            yield DrawnObject((name,), left_out="boxes without an outline")
        else:
            yield DrawnObject((name,), partial(_polygons, drawn))


def _polygons(segmentation: Any) -> Iterator[Polygon]:
    """Yield a polygon per list x, y, x, y, ..."""
    if not isinstance(segmentation, list):
        raise ValueError("its segmentation is run lengths; polygons are read")
    for numbers in segmentation:
        flat = np.asarray(numbers, np.float64)
        if flat.ndim != 1 or len(flat) % 2:
            raise ValueError("a polygon is not x, y, x, y, ...")
        yield [closed(flat.reshape(-1, 2))]
