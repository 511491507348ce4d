"""The overlay: outlines of masks and of the annotation over the slide's overview."""

import math

import numpy as np
import shapely
from PIL import Image, ImageDraw, ImageFont
from shapely.ops import substring

from holohisto.slide import Slide

DASH = 5.0
"""Length of a dash of the annotation, picture pixels."""
GAP = 1.5
"""Space between two names in the legend, in sizes of its letters."""


def proportions(slide: Slide) -> tuple[float, float]:
    """Return width and height of a slide in pixels of one side, even where its own are oblong."""
    width, height = slide.size
    return width, height * (slide.mpp_y or 1) / (slide.mpp or 1)


def fitted(
    picture: np.ndarray,
    factor: float,
    size: tuple[int, int],
    side: int,
    shape: tuple[float, float] | None = None,
) -> np.ndarray:
    """Reduce a picture of the whole slide so that its longer side is `side`.

    Args:
        picture: (height, width, 3) uint8, at least as large as the result.
        factor: Level-0 pixels to a pixel of `picture`; its last column and row may extend beyond
            the slide.
        size: Width and height of the slide, level-0 pixels.
        side: Longer side of the result, pixels.
        shape: `proportions` of the slide; None: those of `size`.

    Returns:
        (height, width, 3) uint8.
    """
    shape = shape or size
    width, height = (max(1, round(length * side / max(shape))) for length in shape)
    covered = (0, 0, size[0] / factor, size[1] / factor)
    image = Image.fromarray(picture)
    return np.asarray(image.resize((width, height), Image.Resampling.LANCZOS, covered))


def start_overlay(slide: Slide, working_size: tuple[int, int], side: int) -> "Overlay":
    """Return an overlay over the slide, its longer side `side` pixels, or less on a small slide.

    Args:
        slide: The slide.
        working_size: Its width and height at working resolution, the largest size of the picture.
        side: Longer side of the picture, pixels.

    Raises:
        HolohistoError: the slide cannot be read.
    """
    side = min(side, max(working_size))
    # The overview keeps to whole factors; one of twice the side is never smaller than `side`.
    picture = fitted(*slide.overview(2 * side), slide.size, side, proportions(slide))
    return Overlay(picture, slide.size)


class Overlay:
    """Collects outlines at picture resolution and draws them."""

    def __init__(self, picture: np.ndarray, size: tuple[int, int]) -> None:
        """Start from a picture of the whole slide.

        Args:
            picture: (height, width, 3) uint8.
            size: Width and height of the slide, level-0 pixels.
        """
        self.picture = picture
        self.scale = np.array(size) / picture.shape[1::-1]
        self.zoom = 2 if max(picture.shape) <= 3000 else 1  # drawn larger for smooth lines
        self._lines: list[tuple[str | None, list[np.ndarray]]] = []
        self._legend: list[tuple[str | None, str]] = []

    def add(self, polygons: np.ndarray, colour: str | None) -> None:
        """Add (n,) shapely outlines in level-0 pixels; without colour they are dashed."""
        coarse = shapely.transform(polygons, lambda points: points / self.scale)
        coarse = shapely.simplify(coarse, 0.25, preserve_topology=True)
        rings = shapely.get_rings(shapely.get_parts(coarse))  # it knows no MultiPolygon
        self._lines.append((colour, [shapely.get_coordinates(ring) for ring in rings]))

    def name(self, text: str, colour: str | None) -> None:
        """Add a name to the legend; None for the dashed line."""
        self._legend.append((colour, text))

    def name_objects(self, name: str, count: int, colour: str | None) -> None:
        """Add a name and a number of objects to the legend."""
        self.name(f"{name}: {count} object{'s' * (count != 1)}", colour)

    def draw(self) -> Image.Image:
        """Draw masks first, the annotation over them, and the legend below the picture."""
        height, width = self.picture.shape[:2]
        corners, (legend_width, legend_height) = self._arrange_legend(width)
        base = Image.new("RGB", (max(width, legend_width), height + legend_height), "white")
        layer = Image.new("RGBA", (base.width * self.zoom, base.height * self.zoom))
        draw = ImageDraw.Draw(layer)
        for colour, lines in sorted(self._lines, key=lambda item: item[0] is None):
            for line in lines:
                self._outline(draw, line, colour)
        draw.rectangle((0, height * self.zoom, *layer.size), fill=(0, 0, 0, 0))
        for (x, y), (colour, text) in zip(corners, self._legend, strict=True):
            self._write_name(draw, (x, height + y), colour, text)
        base.paste(Image.fromarray(self.picture))
        layer = layer.resize(base.size, Image.Resampling.BOX)
        base.paste(layer, mask=layer)
        return base

    def _outline(self, draw: ImageDraw.ImageDraw, points: np.ndarray, colour: str | None) -> None:
        if colour is None:
            self._dashed(draw, points)
        else:
            self._line(draw, points, colour, 2.0)

    def _line(self, draw: ImageDraw.ImageDraw, points: np.ndarray, fill: str, width: float) -> None:
        draw.line(
            [tuple(point) for point in (points * self.zoom).tolist()],
            fill=fill,
            width=max(1, round(width * self.zoom)),
            joint="curve",
        )

    def _dashed(self, draw: ImageDraw.ImageDraw, points: np.ndarray) -> None:
        """White dashes on a black line, visible on any stain and on glass."""
        self._line(draw, points, "#000000", 1.0)
        line = shapely.LineString(points)
        for start in np.arange(0, line.length, 2 * DASH):
            dash = substring(line, start, start + DASH)
            self._line(draw, shapely.get_coordinates(dash), "#ffffff", 1.0)

    @property
    def _letters(self) -> int:
        """Size of the legend's letters, picture pixels."""
        return max(13, max(self.picture.shape) // 75)

    def _arrange_legend(self, width: int) -> tuple[list[tuple[int, int]], tuple[int, int]]:
        """Positions of the names, in rows no wider than `width` where possible, and their size."""
        size = self._letters
        font = ImageFont.load_default(size)
        corners: list[tuple[int, int]] = []
        x = right = row = 0
        for _, text in self._legend:
            needs = math.ceil(font.getlength(text) + (3 + GAP) * size)
            if x and x + needs > width:
                x, row = 0, row + 1
            corners.append((x, round((1.5 * row + 0.25) * size)))
            x += needs
            right = max(right, x)
        return corners, (right, round((1.5 * row + 1.75) * size) if corners else 0)

    def _write_name(
        self, draw: ImageDraw.ImageDraw, corner: tuple[int, int], colour: str | None, text: str
    ) -> None:
        size, (x, y) = self._letters, corner
        middle = y + 0.65 * size
        line = np.array([[x + 0.5 * size, middle], [x + 2.5 * size, middle]])
        self._outline(draw, line, colour)
        text_corner = ((x + 3 * size) * self.zoom, y * self.zoom)
        font = ImageFont.load_default(size * self.zoom)
        draw.text(text_corner, text, fill="#000000", font=font)
