"""Tile positions, overlap and blending weights: plain arithmetic on working pixels."""

from dataclasses import dataclass

import numpy as np

from holohisto.runtime.arithmetic import ceil_div, round_up


@dataclass(frozen=True, order=True)
class Tile:
    """A rectangle of working pixels, top-left corner and size."""

    y: int
    x: int
    width: int
    height: int

    def grown(self, by: int) -> "Tile":
        """Return the tile with a frame around it."""
        return Tile(self.y - by, self.x - by, self.width + 2 * by, self.height + 2 * by)


def positions(length: int, tile: int, overlap: float, snap: int) -> list[int]:
    """Return the tile origins along one side, multiples of `snap`, covering 0..length.

    The stride is `tile * (1 - overlap)` rounded down to a multiple of `snap`; the last tile is
    pulled back so that it ends at the border (or up to `snap - 1` pixels beyond it).
    """
    if tile >= length:
        return [0]
    stride = max(snap, int(tile * (1 - overlap)) // snap * snap)
    last = round_up(length - tile, snap)
    return [*range(0, last, stride), last]


def tile_rows(
    size: tuple[int, int], tile: tuple[int, int], overlap: float, snap: int
) -> list[list[Tile]]:
    """Return the rows of tiles that cover an image, each row from left to right.

    Args:
        size: Width and height of the image, working pixels.
        tile: Width and height of a tile; one larger than the image hangs over its border.
        overlap: Share of a tile that its neighbour covers too.
        snap: Every origin is a multiple of it.
    """
    width, height = tile
    return [
        [Tile(y, x, width, height) for x in positions(size[0], width, overlap, snap)]
        for y in positions(size[1], height, overlap, snap)
    ]


def whole(tile: tuple[int, int], snap: int) -> tuple[int, int]:
    """Round both sides up to multiples of `snap`."""
    return round_up(tile[0], snap), round_up(tile[1], snap)


def gaussian_weights(width: int, height: int) -> np.ndarray:
    """Return blending weights (height, width) float32, largest in the middle.

    The separable Gaussian of MONAI's sliding window: sigma = 0.125 of each side, not below 1e-3.
    """
    weights = np.outer(_gaussian(height), _gaussian(width))
    return np.maximum(weights, max(weights.min(), 1e-3)).astype(np.float32)


def _gaussian(length: int) -> np.ndarray:
    x = np.arange(length) - (length - 1) / 2
    return np.exp(-0.5 * (x / (0.125 * length)) ** 2)


def holds_foreground(foreground: np.ndarray, cell: int, tile: Tile) -> bool:
    """Say whether a tile covers any foreground cell."""
    rows = slice(max(0, tile.y // cell), ceil_div(tile.y + tile.height, cell))
    columns = slice(max(0, tile.x // cell), ceil_div(tile.x + tile.width, cell))
    return bool(foreground[rows, columns].any())
