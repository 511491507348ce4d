"""Annotations as outlines, in level-0 pixels: the objects of the classes, rasterised on demand."""

import logging
from collections import Counter
from pathlib import Path

import numpy as np

from holohisto.annotation.drawn import DrawnObject, Polygon, shown
from holohisto.annotation.formats import MISTAKES, Drawing
from holohisto.annotation.scanlines import BOTTOM, LEFT, RIGHT, TOP, Polygons
from holohisto.config.sections import Classes
from holohisto.errors import HolohistoError
from holohisto.slide.claims import LONGEST_SIDE

logger = logging.getLogger(__name__)

UNCLASSIFIED = "objects without class"
DETECTIONS = "detections"
MOST_CROSSINGS, CROSSINGS_OF_A_PIXEL = 2**29, 4
"""Largest number of crossings of edges and rows of pixels, of all outlines and for each pixel of an
outline's box. A million cells have less than 2^27; the edge of a mask crosses a pixel once."""
FEW_CROSSINGS = 2**24
"""Crossings of one outline that are always allowed; they are filled in seconds."""
SHOWN = 8
"""Largest number of kinds of objects that are listed in a message."""


class OutlineAnnotation:
    """The polygons of an annotation; threads may share them.

    Memory grows with the number of their points, not with the size of the slide.
    """

    def __init__(
        self,
        path: Path,
        classes: Classes,
        annotated: tuple[str, ...],
        size: tuple[int, int],
    ) -> None:
        """Read the points of all polygons of the annotated classes.

        The class of an object is named by its classification; case makes no difference. Objects
        without any class belong to the annotated class where there is only one and no object of the
        file has a class. Detections count where no annotation has one of the classes.

        Args:
            path: GeoJSON, COCO, labelme, or XML of ASAP, ImageScope or HALO; plain or gzipped.
            classes: The classes in the order of their bits.
            annotated: Names of the classes to read.
            size: Width and height of the slide's level 0.

        Raises:
            HolohistoError: missing, damaged, of another format, drawn on a picture of another size,
                or most polygons lie outside the slide.
        """
        self.size = size
        bits = {name.lower(): bit for bit, name in enumerate(classes) if name in annotated}
        drawing = Drawing(path)
        chosen = _Chosen(path, bits)
        for number, drawn in drawing.objects():
            chosen.add(number, drawn)
        self._polygons = Polygons(_scaled(chosen.polygons(), path, drawing.size, size))
        self._require_overlap(path)
        self._require_plain(path)

    def bits(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Return the classes of a rectangle.

        Args:
            x: Left edge, level-0 pixels.
            y: Top edge, level-0 pixels.
            width: Width, level-0 pixels.
            height: Height, level-0 pixels.

        Returns:
            (height, width) uint8, bit i set where class i is.
        """
        return self._polygons.bits(x, y, width, height)

    @property
    def boxes(self) -> np.ndarray:
        """Bounding boxes of the polygons, (n, 4) float64: left, top, right, bottom."""
        return self._polygons.box

    @property
    def kept_bytes(self) -> int:
        """Bytes of decoded pixels in memory: none, the outlines alone are kept."""
        return 0

    def close(self) -> None:
        """Do nothing: no file is open."""

    def _require_plain(self, path: Path) -> None:
        """Refuse outlines that cross themselves everywhere, which would take hours to fill."""
        box, height = self._polygons.box, self.size[1]
        found = self._polygons.crossings(height)
        across, down = (np.clip(box[:, side::2], 0, self.size[side]) for side in (LEFT, TOP))
        pixels = (np.ptp(across, axis=1) + 1) * (np.ptp(down, axis=1) + 1)
        excess = np.flatnonzero(found > CROSSINGS_OF_A_PIXEL * pixels + FEW_CROSSINGS)
        if len(excess) or found.sum() > MOST_CROSSINGS:
            worst = excess[0] if len(excess) else found.argmax()
            raise HolohistoError(
                path,
                "its outlines cross the rows of pixels too often to be filled",
                found=f"{found[worst]} times by one around x {box[worst, LEFT]:g},"
                f" y {box[worst, TOP]:g}",
                allowed=f"{CROSSINGS_OF_A_PIXEL} for each pixel, {MOST_CROSSINGS} in all",
                advice="simplify the outlines, or paint a mask",
            )

    def _require_overlap(self, path: Path) -> None:
        box, (width, height) = self._polygons.box, self.size
        inside = (box[:, LEFT] < width) & (box[:, TOP] < height)
        inside &= (box[:, RIGHT] > 0) & (box[:, BOTTOM] > 0)
        outside = len(box) - int(inside.sum())
        if 2 * outside > len(box):
            extent = [*box[:, :RIGHT].min(axis=0), *box[:, RIGHT:].max(axis=0)]
            raise HolohistoError(
                path,
                f"{outside} of {len(box)} outlines lie outside the slide",
                found="x {0:g} to {2:g}, y {1:g} to {3:g}".format(*extent),
                allowed=f"0 to {width} and 0 to {height}, level-0 pixels",
                advice="export them from the slide itself, in pixels",
            )
        if outside:
            logger.warning("%s: %d of %d outlines lie outside the slide", path, outside, len(box))


class _Chosen:
    """Chooses the objects of the classes, and reports which ones are left out."""

    def __init__(self, path: Path, bits: dict[str, int]) -> None:
        self._path, self._bits = path, bits
        self._of_classes: list[tuple[int, Polygon]] = []
        self._found_by_program: list[tuple[int, Polygon]] = []
        self._unclassified: list[tuple[int, Polygon]] = []
        self._left_out: Counter[str] = Counter()
        self._without_class = self._detections = 0
        self._any_class = False

    def add(self, number: int, drawn: DrawnObject) -> None:
        """Keep the polygons of an object if they may be of one of the classes."""
        if drawn.left_out or (drawn.detection and not drawn.names):
            self._left_out[drawn.left_out or DETECTIONS] += 1
        elif not drawn.names:
            self._without_class += 1
            if len(self._bits) == 1 and not self._any_class:
                bit = next(iter(self._bits.values()))
                self._unclassified += self._polygons(number, drawn, bit)
        else:
            self._add_classified(number, drawn)

    def _add_classified(self, number: int, drawn: DrawnObject) -> None:
        known = [name.lower() for name in drawn.names if name.lower() in self._bits]
        self._any_class = self._any_class or not drawn.detection
        if not known:
            self._left_out[shown(drawn.names[0])] += 1
            return
        polygons = self._polygons(number, drawn, self._bits[known[0]])
        if drawn.detection:
            self._detections += 1
            self._found_by_program += polygons
        else:
            self._of_classes += polygons

    def polygons(self) -> list[tuple[int, Polygon]]:
        """Return the bit and the rings of the polygons of the classes; warn of other objects."""
        chosen = self._of_classes
        if self._any_class or len(self._bits) != 1:
            self._left_out[UNCLASSIFIED] += self._without_class
        else:
            chosen = chosen + self._unclassified
        if chosen:
            self._left_out[DETECTIONS] += self._detections
        elif self._detections:
            chosen = self._found_by_program
            logger.warning("%s: no annotation has one of the classes: detections are", self._path)
        listed = [f"{name} ({n})" for name, n in (+self._left_out).most_common(SHOWN)]
        if listed:
            logger.warning(
                "%s: objects that are none of the classes are left out: %s; looked for: %s",
                self._path,
                ", ".join(listed),
                ", ".join(self._bits),
            )
        return chosen

    def _polygons(self, number: int, drawn: DrawnObject, bit: int) -> list[tuple[int, Polygon]]:
        try:
            return [(bit, polygon) for polygon in drawn.polygons()]
        except MISTAKES as error:
            raise HolohistoError(
                self._path,
                f"the geometry of object {number} makes no sense: {shown(error, 120)}",
                allowed="polygons of numbers",
            ) from error


def _scaled(
    polygons: list[tuple[int, Polygon]],
    path: Path,
    drawn_on: tuple[int, int] | None,
    size: tuple[int, int],
) -> list[tuple[int, Polygon]]:
    """Bring polygons to level-0 pixels from the picture on which they were drawn."""
    if drawn_on is None or drawn_on == size:
        return polygons
    known = all(1 <= side <= LONGEST_SIDE for side in drawn_on)
    scale = size[0] / drawn_on[0] if known else 1.0
    if not known or abs(size[1] - scale * drawn_on[1]) > max(scale, 1):
        raise HolohistoError(
            path,
            "the outlines were drawn on a picture of other proportions than the slide",
            found="{}x{}".format(*drawn_on),
            allowed="{}x{}, or the same reduced".format(*size),
        )
    return [(bit, [ring * scale for ring in rings]) for bit, rings in polygons]
