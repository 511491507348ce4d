"""The overlay: outlines of masks and of the annotation over the slide's overview."""

import numpy as np
import shapely
from PIL import Image, ImageDraw, ImageFont
from shapely.ops import substring

DASH = 5.0
"""Length of a dash of the annotation, picture pixels."""


class Overlay:
    """Collects outlines at picture resolution and draws them."""

    def __init__(self, picture: np.ndarray, scale: float) -> None:
        """Start from the overview.

        Args:
            picture: (height, width, 3) uint8.
            scale: level-0 pixels to a picture pixel.
        """
        self.picture, self.scale = picture, scale
        self.zoom = 2 if max(picture.shape) <= 3000 else 1  # drawn larger for smooth lines
        self._lines: list[tuple[str | None, list[np.ndarray]]] = []
        self._legend: list[tuple[str | None, str]] = []

    def add(self, polygons: np.ndarray, colour: str | None) -> None:
        """Add outlines in level-0 pixels: a plain line, or, without colour, a dashed one."""
        coarse = shapely.transform(polygons, lambda points: points / self.scale)
        coarse = shapely.simplify(coarse, 0.25, preserve_topology=True)
        rings = [shapely.get_rings(polygon) for polygon in coarse]
        lines = [shapely.get_coordinates(ring) for several in rings for ring in several]
        self._lines.append((colour, lines))

    def name(self, text: str, colour: str | None) -> None:
        """Add a line to the legend."""
        self._legend.append((colour, text))

    def draw(self) -> Image.Image:
        """Draw masks first, the annotation over them, and the legend."""
        base = Image.fromarray(self.picture).convert("RGB")
        layer = Image.new("RGBA", (base.width * self.zoom, base.height * self.zoom))
        draw = ImageDraw.Draw(layer)
        for colour, lines in sorted(self._lines, key=lambda item: item[0] is None):
            for line in lines:
                if colour is None:
                    self._dashed(draw, line)
                else:
                    self._line(draw, line, colour, 2.0)
        self._write_legend(draw, layer.height)
        layer = layer.resize(base.size, Image.Resampling.BOX)
        base.paste(layer, mask=layer)
        return base

    def _line(self, draw: ImageDraw.ImageDraw, points: np.ndarray, fill: str, width: float) -> None:
        draw.line(
            [tuple(point) for point in (points * self.zoom).tolist()],
            fill=fill, width=max(1, round(width * self.zoom)), joint="curve",
        )  # fmt: skip

    def _dashed(self, draw: ImageDraw.ImageDraw, points: np.ndarray) -> None:
        """White dashes on a black line: seen on any stain and on glass."""
        self._line(draw, points, "#000000", 1.0)
        line = shapely.LineString(points)
        for start in np.arange(0, line.length, 2 * DASH):
            dash = substring(line, start, start + DASH)
            self._line(draw, shapely.get_coordinates(dash), "#ffffff", 1.0)

    def _write_legend(self, draw: ImageDraw.ImageDraw, height: int) -> None:
        size = 13 * self.zoom
        font = ImageFont.load_default(size)
        width = max((draw.textlength(text, font) for _, text in self._legend), default=0)
        top = height - int(1.5 * size) * len(self._legend) - size // 2
        draw.rectangle((0, top, width + 4 * size, height), fill=(255, 255, 255, 230))
        for row, (colour, text) in enumerate(self._legend):
            y = top + int(1.5 * size) * row + size // 4
            middle = (y + 0.6 * size) / self.zoom
            line = np.array([[0.5 * size, 0], [2.5 * size, 0]]) / self.zoom + [0, middle]
            if colour is None:
                self._dashed(draw, line)
            else:
                self._line(draw, line, colour, 2.0)
            draw.text((3 * size, y), text, fill="#000000", font=font)
