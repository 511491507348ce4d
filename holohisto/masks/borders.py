"""Objects that touch a border of the tiles in which they were segmented."""

from typing import Any

import numpy as np

from holohisto.masks.runs import Runs
from holohisto.tiles.grid import tile_rows


class Borders:
    """The borders between tiles, inside the slide.

    Attributes:
        known: Whether the labels name their tiles; masks made by another tool do not.
        x: Columns of vertical borders, sorted, (n,) int64.
        y: Rows of horizontal borders, sorted, (n,) int64.
    """

    def __init__(self, header: dict[str, Any], size: tuple[int, int]) -> None:
        """Read the tiles from the header of labels whose working width and height are `size`."""
        self.known = "tile" in header
        rows = (
            tile_rows(size, tuple(header["tile"]), header["overlap"], header["snap"])
            if self.known
            else []
        )
        tiles = [tile for row in rows for tile in row]
        self.x = _inner([(tile.x, tile.x + tile.width) for tile in tiles], size[0])
        self.y = _inner([(tile.y, tile.y + tile.height) for tile in tiles], size[1])

    def touched(self, runs: Runs) -> np.ndarray:
        """Return whether each run crosses a border or ends at one, (n,) bool."""
        first, after = (
            np.searchsorted(self.x, runs.start, "left"),
            np.searchsorted(self.x, runs.end, "right"),
        )
        return (first < after) | np.isin(runs.y, self.y) | np.isin(runs.y + 1, self.y)


def _inner(sides: list[tuple[int, int]], length: int) -> np.ndarray:
    """Sorted positions of the borders inside the slide, (n,) int64."""
    ends = {end for pair in sides for end in pair}
    return np.array(sorted(end for end in ends if 0 < end < length), np.int64)
