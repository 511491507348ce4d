"""The variants in which a slide is seen: turned, flipped, scaled, of another appearance."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from holohisto.config.training import TokensOptions
from holohisto.tiles.appearance import Appearance, Strength
from holohisto.tiles.grid import Tile

UNCHANGED = Appearance()
"""The appearance that leaves a slide's stain, brightness and sharpness unchanged."""
ReadTile = Callable[[Tile], np.ndarray]
"""Pixels of a tile, (height, width, ...); outside the slide: background."""


@dataclass(frozen=True)
class Variant:
    """One way to see a slide; the default changes nothing.

    Its coordinates are the slide's working pixels times `scale`, before turning.
    """

    orientation: int = 0
    scale: float = 1.0
    appearance: Appearance = UNCHANGED

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return width and height of the slide as seen, not turned."""
        width, height = (math.ceil(side * self.scale - 1e-6) for side in size)
        return width, height

    def read(self, read: ReadTile, tile: Tile) -> np.ndarray:
        """Read a tile of the slide as seen, not turned, (height, width, 3) uint8."""
        reach = self.appearance.reach
        rgb = self.appearance.apply(resample(read, tile.grown(reach), self.scale))
        return rgb[reach : reach + tile.height, reach : reach + tile.width]


def orient(array: np.ndarray, orientation: int) -> np.ndarray:
    """Return one of the eight orientations of a square, 0 being the array itself.

    Bit 2 exchanges rows and columns, then bit 1 flips the rows and bit 0 the columns.

    Args:
        array: (height, width, ...) of any type.
        orientation: 0 to 7.

    Returns:
        A view, (height, width, ...), or (width, height, ...) where bit 2 is set.
    """
    if transposes(orientation):
        array = array.swapaxes(0, 1)
    return array[:: -1 if orientation & 2 else 1, :: -1 if orientation & 1 else 1]


def restore(array: np.ndarray, orientation: int) -> np.ndarray:
    """Return the array that `orient` turned into this one; a view of the same type."""
    array = array[:: -1 if orientation & 2 else 1, :: -1 if orientation & 1 else 1]
    return array.swapaxes(0, 1) if transposes(orientation) else array


def transposes(orientation: int) -> bool:
    """Whether an orientation, 0 to 7, exchanges width and height."""
    return bool(orientation & 4)


def resample(read: ReadTile, tile: Tile, scale: float) -> np.ndarray:
    """Read a tile in coordinates multiplied by `scale`, bilinearly.

    What is found at a place depends on that place alone, never on the tile, so that parts fit.
    """
    if scale == 1:
        return read(tile)
    (top, rows), (left, columns) = (
        _sources(first, length, scale)
        for first, length in ((tile.y, tile.height), (tile.x, tile.width))
    )
    part = read(Tile(top, left, int(columns[0][-1]) + 2, int(rows[0][-1]) + 2))
    part = _interpolated(part.astype(np.float32), *rows, axis=0)
    part = _interpolated(part, *columns, axis=1)
    return np.clip(part + 0.5, 0, 255).astype(np.uint8)


def resample_labels(read: ReadTile, tile: Tile, scale: float) -> np.ndarray:
    """As `resample`, but each place has the value of the pixel nearest to it."""
    if scale == 1:
        return read(tile)
    y, x = (
        np.floor((np.arange(first, first + length) + 0.5) / scale).astype(int)
        for first, length in ((tile.y, tile.height), (tile.x, tile.width))
    )
    top, left = int(y[0]), int(x[0])
    part = read(Tile(top, left, int(x[-1]) - left + 1, int(y[-1]) - top + 1))
    return part[np.ix_(y - top, x - left)]


def variants_of(options: TokensOptions, fingerprint: str) -> list[Variant]:
    """Return the variants that a slide's token map holds; the first changes nothing.

    Orientations and looks (scale and appearance) advance together, so that every one occurs and
    their number is the larger of both. A look is the same all over the slide, or the map would have
    seams; each slide has its own, from the fingerprint of its content, but for the scales.
    """
    strength = Strength.of(options.augmentation)
    looks: list[tuple[float, Appearance]] = [(1.0, UNCHANGED)]
    for n in range(options.appearances):
        power = (2 * n + 1) / options.appearances - 1  # even, and the same for all slides
        random = np.random.default_rng([*fingerprint.encode(), n])
        looks.append(
            ((1 + options.augmentation.scale_jitter) ** power, Appearance.draw(strength, random))
        )
    return [
        Variant(k % options.orientations, *looks[k % len(looks)]) for k in range(options.variants)
    ]


def _sources(first: int, length: int, scale: float) -> tuple[int, tuple[np.ndarray, np.ndarray]]:
    """First source pixel; then for each of `length` places the pixel before it and the way on."""
    places = (np.arange(first, first + length) + 0.5) / scale - 0.5
    before = np.floor(places).astype(int)
    return int(before[0]), (before - before[0], (places - before).astype(np.float32))


def _interpolated(
    array: np.ndarray, before: np.ndarray, share: np.ndarray, axis: int
) -> np.ndarray:
    """Mix the pixels before and after each place along an axis of (height, width, 3) float32."""
    share = share[:, None, None] if axis == 0 else share[:, None]
    low, high = array.take(before, axis=axis), array.take(before + 1, axis=axis)
    return low + (high - low) * share
