"""The input of the networks: tissue in a common stain, everything else white.

Glass differs between scanners, some slides have a blacked-out surround, and laboratories stain more
strongly or more weakly than each other. So that a segmenter meets nothing it was not trained on,
everything outside the foreground becomes white on every slide, and the tissue's median optical
density is scaled to the same value in each colour. Both depend on the slide alone, never on the
tile, so tiles have no seams.
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
"""Largest channel value of a pixel in a blacked-out surround, whose JPEG blocks are not quite
black."""
BLENDED = 2
"""Width of the dark line between slide and surround that JPEG and reduction blend, working pixels.
It is no tissue."""
SPECK = 1
"""Black areas at most twice this wide, in working pixels, are not widened by BLENDED: they may be
specks on tissue."""

DENSITY = (0.20, 0.40, 0.20)
"""Common median optical density of tissue in red, green and blue: that of human PAS."""
LEAST, MOST = 0.4, 2.5
"""Range of the factor by which the optical densities of a colour are scaled."""


@dataclass(frozen=True)
class Tissue:
    """The pixels of one slide at working resolution, as networks see them."""

    slide: Slide
    factor: int
    """Level-0 pixels a side of a working pixel."""
    foreground: Foreground

    def read(self, tile: Tile) -> np.ndarray:
        """Return a tile's pixels, white outside the foreground.

        The optical densities of each colour are scaled to the common stain, and glass becomes
        white. Cells at the edge of a blacked-out surround hold pixels of both, so black pixels, and
        those blended with the surround, become white as well.

        Args:
            tile: In working pixels; may lie outside the slide.

        Returns:
            (height, width, 3) uint8.

        Raises:
            HolohistoError: the slide is damaged.
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
        """Stained value of each value of each channel, (3, 256) uint8; None for no scaling."""
        if self.foreground.density is None:
            return None
        scale = np.clip(np.array(DENSITY) / np.maximum(self.foreground.density, 1e-3), LEAST, MOST)
        values = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
        light = 256 * np.exp(-scale * optical_density(values, self.slide.background)) - 1
        return np.clip(np.rint(light), 0, 255).astype(np.uint8).T.copy()


def _surround(rgb: np.ndarray) -> np.ndarray:
    """Black pixels, and those within BLENDED of black that is wider than a speck.

    Args:
        rgb: (height, width, 3) uint8.

    Returns:
        (height, width) bool.
    """
    black = rgb.max(axis=2) <= BLACK
    core = ndimage.minimum_filter(black, 2 * SPECK + 1)
    return black | ndimage.maximum_filter(core, 2 * (SPECK + BLENDED) + 1)
