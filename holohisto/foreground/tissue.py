"""The pixels that networks see: tissue in a common stain, all else white.

Glass differs from scanner to scanner, some slides have a blacked-out surround, and every laboratory
stains a little stronger or paler. A segmenter is misled by what no training slide had, so what the
foreground leaves out looks the same on every slide, and the median optical density of the tissue is
brought to the same value in each colour. Both are functions of the slide alone: no seams.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from holohisto.foreground.detect import optical_density
from holohisto.foreground.map import Foreground
from holohisto.slide import Slide
from holohisto.tiles.grid import Tile

WHITE = (255, 255, 255)
BLACK = 40
"""Brightness up to which a pixel of a slide with a blacked-out surround belongs to the surround;
its JPEG blocks are not black throughout."""
BLENDED = 2
"""Working pixels beside the surround that are blended with it: a dark line, but no tissue."""
SPECK = 1
"""Black that is no wider than twice this is not widened: it may be a speck on tissue."""

DENSITY = (0.20, 0.40, 0.20)
"""Median optical density in red, green and blue that all tissue is brought to: human PAS has it."""
LEAST, MOST = 0.4, 2.5
"""How much paler, or stronger, a colour is made at most."""


@dataclass(frozen=True)
class Tissue:
    """The tissue of one slide, at working resolution."""

    slide: Slide
    factor: int
    """Level-0 pixels a side of a working pixel."""
    foreground: Foreground

    def read(self, tile: Tile) -> np.ndarray:
        """Return a tile's pixels, (height, width, 3) uint8, white outside the foreground.

        Optical densities are scaled, colour by colour, so that glass becomes white. A slide with a
        blacked-out surround has cells of both; its black pixels, and those blended with the
        surround, are white too.
        """
        outside = ~self.foreground.pixels((tile.x, tile.y), (tile.width, tile.height))
        if max(self.slide.background) <= BLACK:
            frame = BLENDED + 2 * SPECK
            wide = self._read(tile.grown(frame))
            inner = np.s_[frame : frame + tile.height, frame : frame + tile.width]
            outside |= _surround(wide)[inner]
            rgb = wide[inner].copy()
        else:
            rgb = self._read(tile)
        if self._colours is not None:
            for channel, colours in enumerate(self._colours):
                rgb[..., channel] = colours[rgb[..., channel]]
        rgb[outside] = WHITE
        return rgb

    def _read(self, tile: Tile) -> np.ndarray:
        xy = tile.x * self.factor, tile.y * self.factor
        return self.slide.read(xy, (tile.width, tile.height), self.factor)

    @cached_property
    def _colours(self) -> np.ndarray | None:
        """What each value of each channel becomes, (3, 256) uint8; None to leave all as it is."""
        if self.foreground.density is None:
            return None
        scale = np.clip(np.array(DENSITY) / np.maximum(self.foreground.density, 1e-3), LEAST, MOST)
        values = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
        light = 256 * np.exp(-scale * optical_density(values, self.slide.background)) - 1
        return np.clip(np.rint(light), 0, 255).astype(np.uint8).T.copy()


def _surround(rgb: np.ndarray) -> np.ndarray:
    """(height, width) bool: black, or blended with black that is more than a speck."""
    black = rgb.max(axis=2) <= BLACK
    core = ndimage.minimum_filter(black, 2 * SPECK + 1)
    return black | ndimage.maximum_filter(core, 2 * (SPECK + BLENDED) + 1)
