"""Heights and widths of tiles that a network accepts; without torch."""

from dataclasses import dataclass

import numpy as np

from holohisto.tiles.grid import whole


@dataclass(frozen=True)
class Sides:
    """Heights and widths that a network accepts."""

    multiple: int = 1
    """Sides are multiples of it."""
    fixed: tuple[int, int] | None = None
    """The only accepted width and height, of networks that learn position embeddings."""
    least: int = 2
    """Multiples that a side has at least; two where norms need several values."""
    border: int | None = 255
    """Value of the pixels that a tile is widened with; None: its last pixels are repeated."""

    def of(self, height: int, width: int) -> tuple[int, int]:
        """Return the least height and width that the network takes for such a tile.

        Raises:
            ValueError: the tile is larger than the network's only size.
        """
        if self.fixed is None:
            m, least = self.multiple, self.least * self.multiple
            wide, high = whole((max(width, least), max(height, least)), m)
            return high, wide
        if width > self.fixed[0] or height > self.fixed[1]:
            raise ValueError(f"a tile of {width} x {height} for a network of {self.fixed}")
        return self.fixed[1], self.fixed[0]

    def widened(self, rgb: np.ndarray) -> np.ndarray:
        """Widen tiles (B, H, W, 3) uint8 on the right and below to what the network takes."""
        height, width = rgb.shape[1:3]
        high, wide = self.of(height, width)
        margins = [(0, 0), (0, high - height), (0, wide - width), (0, 0)]
        if (high, wide) == (height, width):
            return rgb
        if self.border is None:
            return np.pad(rgb, margins, mode="edge")
        return np.pad(rgb, margins, constant_values=self.border)
