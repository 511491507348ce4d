"""Which objects touch a border of the tiles that they were found in."""

from typing import Any

import numpy as np

from holohisto.masks.runs import Runs
from holohisto.tiles.grid import tile_rows


class Borders:
    """The borders between tiles, and the objects met there."""

    def __init__(self, header: dict[str, Any], size: tuple[int, int]) -> None:
        """Take the tiles from the header of labels of `size`; masks from elsewhere have none."""
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
        """Say of each run whether it crosses a border or ends at one, (n,) bool."""
        first, after = (
            np.searchsorted(self.x, runs.start, "left"),
            np.searchsorted(self.x, runs.end, "right"),
        )
        return (first < after) | np.isin(runs.y, self.y) | np.isin(runs.y + 1, self.y)


def _inner(sides: list[tuple[int, int]], length: int) -> np.ndarray:
    """Sorted positions of the borders that lie inside of the slide."""
    ends = {end for pair in sides for end in pair}
    return np.array(sorted(end for end in ends if 0 < end < length), np.int64)
