"""Pixel counts and Dice in the foreground, everywhere and on each tile."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from holohisto.runtime.arithmetic import ceil_div
from holohisto.slide.scale import Scale


def counts(predicted: np.ndarray, annotated: np.ndarray) -> np.ndarray:
    """Pixels in both, predicted only, annotated only: (3,) int64, of two bool masks."""
    both = np.count_nonzero(predicted & annotated)
    return np.array(
        [both, np.count_nonzero(predicted) - both, np.count_nonzero(annotated) - both], np.int64
    )


def dice(both: int, extra: int, missed: int) -> float:
    """Dice = 2 tp / (2 tp + fp + fn), in int64; 1 where both masks are empty."""
    total = 2 * int(both) + int(extra) + int(missed)
    return 2 * int(both) / total if total else 1.0


@dataclass
class TileCounts:
    """Pixel counts of one class, on a grid of tiles anchored at the slide's corner."""

    size: tuple[int, int]
    """Width and height, working pixels."""
    tile: tuple[int, int]
    """Width and height of a tile, working pixels."""
    foreground: np.ndarray = field(init=False)
    """tp, fp, fn in the foreground, (3,) int64."""
    tiles: np.ndarray = field(init=False)
    """tp, fp, fn of each tile, (rows, columns, 3) int64."""
    tissue: np.ndarray = field(init=False)
    """Foreground pixels of each tile, (rows, columns) int64."""
    outside: int = 0
    """Annotated pixels outside the foreground."""

    def __post_init__(self) -> None:
        """Start from zero."""
        columns, rows = (ceil_div(s, t) for s, t in zip(self.size, self.tile, strict=True))
        self.foreground = np.zeros(3, np.int64)
        self.tiles = np.zeros((rows, columns, 3), np.int64)
        self.tissue = np.zeros((rows, columns), np.int64)

    def add(
        self, top: int, predicted: np.ndarray, annotated: np.ndarray, foreground: np.ndarray
    ) -> None:
        """Count a band whose first row is `top`: three masks (rows, width) bool."""
        not_empty = predicted.any() or annotated.any()
        if not_empty:
            self.foreground += counts(predicted & foreground, annotated & foreground)
            self.outside += int(np.count_nonzero(annotated & ~foreground))
        width, height = self.tile
        bottom = top + len(predicted)
        for row in range(top // height, ceil_div(bottom, height)):
            low, high = max(row * height, top) - top, min((row + 1) * height, bottom) - top
            for column in range(self.tiles.shape[1]):
                tile = np.s_[low:high, column * width : (column + 1) * width]
                self.tissue[row, column] += np.count_nonzero(foreground[tile])
                if not_empty:
                    self.tiles[row, column] += counts(predicted[tile], annotated[tile])

    def scores(self, scale: Scale) -> dict[str, Any]:
        """Counts and Dice of the foreground, of everything and of each tile with foreground.

        Args:
            scale: level-0 pixels per working pixel; a tile's `xy` is in level-0 pixels.
        """
        tiles = []
        for row, column in np.argwhere(self.tissue > 0).tolist():
            xy = scale.first_pixel((column * self.tile[0], row * self.tile[1]))
            tiles.append({"xy": list(xy), **_with_dice(self.tiles[row, column])})
        values = [tile["dice"] for tile in tiles]
        return {
            "foreground": _with_dice(self.foreground),
            "everywhere": _with_dice(self.tiles.sum(axis=(0, 1))),
            "tiles": tiles,
            "tile_dice": float(np.mean(values)) if values else None,
            "tiles_empty": sum(tile["tp"] + tile["fp"] + tile["fn"] == 0 for tile in tiles),
            "outside_foreground": self.outside,
        }


def _with_dice(pixels: np.ndarray) -> dict[str, Any]:
    both, extra, missed = (int(count) for count in pixels)
    return {"tp": both, "fp": extra, "fn": missed, "dice": dice(both, extra, missed)}
