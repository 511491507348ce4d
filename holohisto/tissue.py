"""The pixels that networks see: tissue as it is, all else white.

Glass differs from scanner to scanner and some slides have a blacked-out surround. A segmenter that
sees a whole tile at once is misled by one that no training slide had, so what the foreground leaves
out looks the same on every slide.
"""

from dataclasses import dataclass

import numpy as np

from holohisto.foreground import Foreground
from holohisto.grid import Tile
from holohisto.slide import Slide

WHITE = (255, 255, 255)
BLACK = 40
"""Brightness up to which a pixel of a slide with a blacked-out surround belongs to the surround;
its JPEG blocks are not black throughout."""


@dataclass(frozen=True)
class Tissue:
    """The tissue of one slide, at working resolution."""

    slide: Slide
    factor: int
    """Level-0 pixels a side of a working pixel."""
    foreground: Foreground

    def read(self, tile: Tile) -> np.ndarray:
        """Return a tile's pixels, (height, width, 3) uint8, white outside the foreground.

        A slide with a blacked-out surround has cells of both; its black pixels are white too.
        """
        xy, size = (tile.x, tile.y), (tile.width, tile.height)
        rgb = self.slide.read((tile.x * self.factor, tile.y * self.factor), size, self.factor)
        outside = ~self.foreground.pixels(xy, size)
        if max(self.slide.background) <= BLACK:
            outside |= rgb.max(axis=2) <= BLACK
        rgb[outside] = WHITE
        return rgb
