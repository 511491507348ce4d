"""The input of the networks: tissue in a common stain, everything else white.

Glass differs between scanners, some slides have a blacked-out surround, and laboratories stain more
strongly or more weakly than each other. So that a segmenter meets nothing it was not trained on,
everything outside the foreground becomes white on every slide, and the tissue's optical density
gets the same mean and standard deviation in each colour. Both depend on the slide alone, never on
the tile, so tiles have no seams.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from holohisto.foreground.detect import optical_density
from holohisto.foreground.map import Foreground
from holohisto.foreground.surround import FRAME, blacked_out, surround
from holohisto.slide import Slide
from holohisto.slide.reopened import ReopenedSlide
from holohisto.slide.scale import Scale
from holohisto.tiles.colour import COMMON, mapped
from holohisto.tiles.grid import Tile

WHITE = (255, 255, 255)


@dataclass(frozen=True)
class Tissue:
    """The pixels of one slide at working resolution, as networks see them."""

    slide: Slide | ReopenedSlide
    scale: Scale
    """Level-0 pixels per working pixel."""
    foreground: Foreground

    def read(self, tile: Tile) -> np.ndarray:
        """Return a tile's pixels, white outside the foreground.

        The optical densities of each colour are brought to the common stain. Cells at the edge of a
        blacked-out surround hold pixels of both, so black pixels, and those blended with the
        surround, become white as well.

        Args:
            tile: In working pixels; may lie outside the slide.

        Returns:
            (height, width, 3) uint8.

        Raises:
            HolohistoError: the slide is damaged.
        """
        if blacked_out(self.slide.background):
            wide = self._read(tile.grown(FRAME))
            rgb, black = wide[FRAME:-FRAME, FRAME:-FRAME].copy(), surround(wide)
        else:
            rgb, black = self._read(tile), None
        for channel, colours in enumerate(self._colours or ()):
            plane = rgb[..., channel]
            translated = plane.tobytes().translate(colours)  # faster than an index of numpy
            plane[...] = np.frombuffer(translated, np.uint8).reshape(plane.shape)
        if black is not None:
            rgb[black] = WHITE
        for rows, columns in self.foreground.outside((tile.x, tile.y), (tile.width, tile.height)):
            rgb[rows, columns] = WHITE
        return rgb

    def _read(self, tile: Tile) -> np.ndarray:
        return self.slide.resampled((tile.x, tile.y), (tile.width, tile.height), self.scale)

    @cached_property
    def _colours(self) -> list[bytes] | None:
        """For each channel the stained value of each value, 256 of them; None for no scaling."""
        own = self.foreground.colour
        if own is None:
            return None
        values = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
        density = optical_density(values, self.slide.background)
        stretch = own.stretch(COMMON)
        density = mapped(density, np.array(own.mean), stretch, np.array(COMMON.mean))
        light = 256 * np.exp(-density) - 1
        stained = np.clip(np.rint(light), 0, 255).astype(np.uint8)
        return [values.tobytes() for values in stained.T]
