"""Annotations that count from the corner of a slide's scanned part, moved to their place."""

import logging
from pathlib import Path
from typing import Protocol

import numpy as np

from holohisto.annotation.outlines import OutlineAnnotation
from holohisto.annotation.scanlines import BOTTOM, LEFT, RIGHT, TOP
from holohisto.config.sections import Classes
from holohisto.errors import HolohistoError
from holohisto.slide.bounds import Bounds
from holohisto.slide.fit import LEVEL_0, resolution_of
from holohisto.slide.scale import Scale, working_pixels

logger = logging.getLogger(__name__)

FROM_THE_PLANE = (".xml", ".annotations")
"""Endings of formats of viewers that show the whole of level 0."""


class Drawing(Protocol):
    """An annotation that is read by rectangles of its own pixels."""

    size: tuple[int, int]

    def bits(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Return (height, width) uint8, bit i set where class i is."""
        ...

    @property
    def boxes(self) -> np.ndarray | None:
        """Bounding boxes of drawn objects, (n, 4), own pixels; None for a picture."""
        ...

    @property
    def kept_bytes(self) -> int:
        """Bytes of decoded pixels in memory."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


class Placed:
    """An annotation of the scanned part as one of the whole slide, in level-0 pixels."""

    def __init__(
        self, drawing: Drawing, bounds: Bounds, size: tuple[int, int], scale: Scale
    ) -> None:
        """Place an annotation.

        Args:
            drawing: Annotation of the scanned part, in pixels of level 0 or of a coarser scale.
            bounds: The scanned part.
            size: Width and height of the slide's level 0.
            scale: Level-0 pixels per pixel of the annotation.
        """
        self.size = size
        self._drawing, self._bounds, self._scale = drawing, bounds, scale

    def bits(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Return the classes of a rectangle of level 0, (height, width) uint8."""
        result = np.zeros((height, width), np.uint8)
        left, top, wide, high = self._bounds
        x0, x1 = max(x, left), min(x + width, left + wide)
        y0, y1 = max(y, top), min(y + height, top + high)
        if x0 >= x1 or y0 >= y1:
            return result
        columns = working_pixels(self._scale.x, np.arange(x0, x1) - left)
        rows = working_pixels(self._scale.y, np.arange(y0, y1) - top)
        # A picture whose size was rounded down lacks the last column or row.
        own_width, own_height = self._drawing.size
        columns, rows = np.minimum(columns, own_width - 1), np.minimum(rows, own_height - 1)
        own = int(columns[0]), int(rows[0])
        bits = self._drawing.bits(*own, int(columns[-1]) + 1 - own[0], int(rows[-1]) + 1 - own[1])
        result[y0 - y : y1 - y, x0 - x : x1 - x] = bits[np.ix_(rows - own[1], columns - own[0])]
        return result

    @property
    def boxes(self) -> np.ndarray | None:
        """Bounding boxes of drawn objects, (n, 4), level-0 pixels; None for a picture."""
        own = self._drawing.boxes
        left, top, *_ = self._bounds
        return None if own is None else own + np.array([left, top, left, top])

    @property
    def kept_bytes(self) -> int:
        """Bytes of decoded pixels in memory."""
        return self._drawing.kept_bytes

    def close(self) -> None:
        """Close the file."""
        self._drawing.close()


def placed_picture(
    picture: Drawing, bounds: Bounds | None, size: tuple[int, int], scale: Scale
) -> Drawing:
    """Return a picture of the whole slide, from one of it or of its scanned part.

    Args:
        picture: The picture, whose size decides.
        bounds: The scanned part; None: the whole slide.
        size: Width and height of level 0.
        scale: Level-0 pixels per working pixel.
    """
    if bounds is None or resolution_of(picture.size, size, scale.working_size(size)):
        return picture
    fits = resolution_of(picture.size, bounds.size, scale.working_size(bounds.size))
    if fits is None:
        return picture
    return Placed(picture, bounds, size, Scale.whole(1) if fits == LEVEL_0 else scale)


def placed_outlines(
    path: Path,
    classes: Classes,
    annotated: tuple[str, ...],
    size: tuple[int, int],
    bounds: Bounds | None,
) -> Drawing:
    """Read outlines, which count from the scanned part unless they fit the whole slide better.

    Args:
        path: The file.
        classes: The classes in the order of their bits.
        annotated: Names of the classes to read.
        size: Width and height of level 0.
        bounds: The scanned part; None: the whole slide.

    Raises:
        HolohistoError: as of `OutlineAnnotation`.
    """
    name = path.name.lower().removesuffix(".gz")
    if bounds is None or name.endswith(FROM_THE_PLANE):
        return OutlineAnnotation(path, classes, annotated, size)
    try:
        outlines = OutlineAnnotation(path, classes, annotated, bounds.size)
    except HolohistoError:  # those that count from the plane may lie outside
        return OutlineAnnotation(path, classes, annotated, size)
    from_plane = (bounds.x, bounds.y, bounds.x + bounds.width, bounds.y + bounds.height)
    if _inside(outlines.boxes, from_plane) > _inside(outlines.boxes, (0, 0, *bounds.size)):
        logger.warning("%s: its outlines count from the corner of level 0", path)
        return OutlineAnnotation(path, classes, annotated, size)
    return Placed(outlines, bounds, size, Scale.whole(1))


def _inside(boxes: np.ndarray, part: tuple[int, int, int, int]) -> int:
    """Number of bounding boxes that lie within a rectangle (left, top, right, bottom)."""
    inside = (boxes[:, LEFT] >= part[0]) & (boxes[:, TOP] >= part[1])
    inside &= (boxes[:, RIGHT] <= part[2]) & (boxes[:, BOTTOM] <= part[3])
    return int(inside.sum())
