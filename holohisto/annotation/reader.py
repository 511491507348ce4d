"""The annotated classes of any rectangle of a slide, from a picture or from outlines."""

from pathlib import Path

import numpy as np

from holohisto.annotation.majority import majority
from holohisto.annotation.picture import RasterAnnotation
from holohisto.annotation.placed import placed_outlines, placed_picture
from holohisto.config.sections import Classes
from holohisto.errors import HolohistoError
from holohisto.sheet.annotations import is_outlines
from holohisto.slide.bounds import Bounds
from holohisto.slide.fit import LEVEL_0, resolution_of
from holohisto.slide.resample import Side
from holohisto.slide.scale import Scale

SOURCE_PIXELS = 2**22
"""Approximate number of the annotation's pixels that are reduced at a time."""
BAND = 512
"""Rows of the annotation that are searched at a time for any class."""


class Annotation:
    """The annotated classes of one slide; threads may share it.

    A TIFF is read tile by tile, any other picture is decoded entirely at the first read, and
    outlines are kept as their points.

    Attributes:
        path: The file.
        scale: Level-0 pixels per working pixel.
        size: Width and height of the annotation in its own pixels.
        own_scale: Own pixels per working pixel: the scale, or 1.
    """

    def __init__(
        self,
        path: Path,
        classes: Classes,
        slide_size: tuple[int, int],
        scale: Scale | int,
        annotated: tuple[str, ...] | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        """Open the file.

        Args:
            path: TIFF, PNG or JPEG: grey, RGB or with a palette; or drawn objects: GeoJSON, COCO,
                labelme, XML of ASAP, ImageScope or HALO.
            classes: The classes in the order of their bits. Their `values` are grey values (indices
                of a palette, or the largest channel of RGB) or #rrggbb colours. Drawn objects are
                classified by name.
            slide_size: Width and height of the slide's level 0.
            scale: Level-0 pixels per working pixel; an integer where it is whole.
            annotated: Names of the classes that are annotated on this slide; no pixel has any other
                class. None: all.
            bounds: The scanned part of the slide, of whose size a picture may be and from whose
                corner QuPath's outlines count. None: the whole slide.

        Raises:
            HolohistoError: unreadable, or neither of level-0 nor of working size.
        """
        self.path = Path(path)
        self.scale = scale = Scale.parse(scale)
        drawn = tuple(classes) if annotated is None else annotated
        if is_outlines(self.path):
            self._drawing = placed_outlines(self.path, classes, drawn, slide_size, bounds)
        else:
            picture = RasterAnnotation(self.path, classes, drawn)
            self._drawing = placed_picture(picture, bounds, slide_size, scale)
        self.size = self._drawing.size
        working = scale.working_size(slide_size)
        fits = resolution_of(self.size, slide_size, working)
        if fits is None:
            self._drawing.close()
            raise HolohistoError(
                self.path,
                "the annotation has not the slide's size",
                found="{}x{}".format(*self.size),
                allowed="{}x{} (level 0) or {}x{} (working)".format(*slide_size, *working),
            )
        self.own_scale = scale if fits == LEVEL_0 else Scale.whole(1)
        self._count = len(classes)

    def read(self, xy: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
        """Return the classes of a rectangle at working resolution.

        A working pixel has a class when at least half of its area, over level-0 pixels, has it.
        Pixels outside the slide have none.

        Args:
            xy: Top-left corner, working pixels; may lie outside.
            size: Width and height of the result, working pixels.

        Returns:
            (height, width) uint8, bit i set where class i is.

        Raises:
            HolohistoError: the file is damaged.
        """
        (x, y), (width, height) = xy, size
        across = Side(self.own_scale.x, x, width)
        result = np.empty((height, width), np.uint8)
        rows = max(1, int(SOURCE_PIXELS / (max(1, across.length) * self.own_scale.y)))
        for top in range(0, height, rows):
            down = Side(self.own_scale.y, y + top, min(rows, height - top))
            bits = self.bits(across.start, down.start, across.length, down.length)
            result[top : top + down.count] = majority(bits, across, down, self._count)
        return result

    def is_empty(self) -> bool:
        """Whether no pixel has any class; reading stops at the first band that has one."""
        width, height = self.size
        bands = (self.bits(0, y, width, BAND) for y in range(0, height, BAND))
        return not any(band.any() for band in bands)

    @property
    def advice(self) -> str:
        """What to do where it shows none of the classes, and should."""
        if is_outlines(self.path):
            return "give the objects, or `classes` in the configuration, the same names"
        return "set `classes.<name>.values`"

    @property
    def boxes(self) -> np.ndarray | None:
        """Bounding boxes of the drawn objects, (n, 4): left, top, right, bottom, level-0 pixels;
        None for a picture.
        """
        return self._drawing.boxes

    @property
    def kept_bytes(self) -> int:
        """Bytes of decoded pixels in memory; the open file itself holds a few kB more."""
        return self._drawing.kept_bytes

    def close(self) -> None:
        """Close the file."""
        self._drawing.close()

    def __enter__(self) -> "Annotation":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def bits(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Return the classes of a rectangle in the annotation's own pixels.

        Args:
            x: Left edge; may lie outside.
            y: Top edge; may lie outside.
            width: Width of the rectangle.
            height: Height of the rectangle.

        Returns:
            (height, width) uint8, bit i set where class i is; 0 outside.

        Raises:
            HolohistoError: the file is damaged.
        """
        result = np.zeros((height, width), np.uint8)
        x0, x1 = max(x, 0), min(x + width, self.size[0])
        y0, y1 = max(y, 0), min(y + height, self.size[1])
        if x0 < x1 and y0 < y1:
            bits = self._drawing.bits(x0, y0, x1 - x0, y1 - y0)
            result[y0 - y : y1 - y, x0 - x : x1 - x] = bits
        return result


def annotated_classes(text: str | None, classes: Classes) -> tuple[str, ...] | None:
    """Return the names in a comma-separated list; None, which means all classes, for None.

    Raises:
        HolohistoError: a name is no class.
    """
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if unknown := sorted(set(names) - set(classes)):
        raise HolohistoError("--annotated", "unknown class", found=unknown, allowed=list(classes))
    return names
