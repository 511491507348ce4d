"""Tile positions, overlap and blending weights, in working pixels."""

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
        """Return the tile with a frame of `by` pixels around it."""
        return Tile(self.y - by, self.x - by, self.width + 2 * by, self.height + 2 * by)


def positions(length: int, tile: int, overlap: float, snap: int) -> list[int]:
    """Return the origins of the tiles that cover one side of an image.

    The stride is `tile * (1 - overlap)`, rounded down to a multiple of `snap`. The last tile is
    moved back so that it ends at the border, or up to `snap - 1` pixels beyond it.

    Args:
        length: Length of the side, pixels.
        tile: Length of a tile; one as long as the side or longer has the origin 0.
        overlap: Share of a tile that its neighbour also covers, 0 to below 1.
        snap: Every origin is a multiple of it.
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
        tile: Width and height of a tile; one larger than the image reaches beyond its border.
        overlap: Share of a tile that its neighbour also covers.
        snap: Every origin is a multiple of it.
    """
    width, height = tile
    return [
        [Tile(y, x, width, height) for x in positions(size[0], width, overlap, snap)]
        for y in positions(size[1], height, overlap, snap)
    ]


def whole(tile: tuple[int, int], snap: int) -> tuple[int, int]:
    """Round width and height of a tile up to multiples of `snap`."""
    return round_up(tile[0], snap), round_up(tile[1], snap)


def gaussian_weights(width: int, height: int) -> np.ndarray:
    """Return the weights with which overlapping tiles are blended, largest in the middle.

    The separable Gaussian of MONAI's `sliding_window_inference`: sigma is 0.125 of each side, and
    no weight is below 1e-3.

    Returns:
        (height, width) float32.
    """
    weights = np.outer(_gaussian(height), _gaussian(width))
    return np.maximum(weights, max(weights.min(), 1e-3)).astype(np.float32)


def _gaussian(length: int) -> np.ndarray:
    x = np.arange(length) - (length - 1) / 2
    return np.exp(-0.5 * (x / (0.125 * length)) ** 2)


def holds_foreground(foreground: np.ndarray, cell: int, tile: Tile) -> bool:
    """Whether a tile covers any foreground cell.

    Args:
        foreground: (rows, columns) bool, one value per cell.
        cell: Side of a cell, working pixels.
        tile: The tile, at least partly inside the map.
    """
    rows = slice(max(0, tile.y // cell), ceil_div(tile.y + tile.height, cell))
    columns = slice(max(0, tile.x // cell), ceil_div(tile.x + tile.width, cell))
    return bool(foreground[rows, columns].any())
