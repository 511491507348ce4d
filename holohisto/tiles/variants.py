"""The variants in which a slide is read: orientation, scale and appearance."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from holohisto.config.training import TokensOptions
from holohisto.tiles.appearance import ORDERS, UNCHANGED, Appearance, Order, Strength
from holohisto.tiles.grid import Tile

ReadTile = Callable[[Tile], np.ndarray]
"""Pixels of a tile, (height, width, ...); outside the slide: background."""


Neighbours = tuple[np.ndarray, np.ndarray]
"""For each scaled pixel along an axis, the source pixel before it, an integer counted from the
first, and its distance from there, float32 from 0 to 1."""


@dataclass(frozen=True)
class Resampling:
    """Which pixels of a slide a tile of the scaled slide is interpolated from."""

    source: Tile
    """In the slide's working pixels."""
    rows: Neighbours
    columns: Neighbours

    @classmethod
    def of(cls, tile: Tile, scale: float) -> "Resampling":
        """Return the resampling for a tile, in coordinates multiplied by `scale`."""
        (top, rows), (left, columns) = (
            _sources(first, length, scale)
            for first, length in ((tile.y, tile.height), (tile.x, tile.width))
        )
        source = Tile(top, left, int(columns[0][-1]) + 2, int(rows[0][-1]) + 2)
        return cls(source, rows, columns)


@dataclass(frozen=True)
class Variant:
    """One orientation, scale and appearance of a slide; the default changes nothing.

    Its coordinates are the slide's working pixels times `scale`, before the orientation is applied.
    """

    orientation: int = 0
    scale: float = 1.0
    appearance: Appearance = UNCHANGED

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return width and height of the scaled slide, before the orientation is applied.

        Args:
            size: Width and height of the slide, working pixels.
        """
        width, height = (math.ceil(side * self.scale - 1e-6) for side in size)
        return width, height

    def read(self, read: ReadTile, tile: Tile) -> np.ndarray:
        """Read a tile of the variant, before the orientation is applied.

        Args:
            read: Reads the slide's working pixels, (height, width, 3) uint8.
            tile: In coordinates of the variant.

        Returns:
            (height, width, 3) uint8.
        """
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
    """Read a tile of the scaled slide by bilinear interpolation.

    The value of a pixel depends on its position alone, never on the tile, so tiles have no seams.

    Args:
        read: Reads the slide, (height, width, 3) uint8.
        tile: In coordinates multiplied by `scale`.
        scale: Magnification, above 0.

    Returns:
        (height, width, 3) uint8.
    """
    if scale == 1:
        return read(tile)
    resampling = Resampling.of(tile, scale)
    pixels = read(resampling.source).astype(np.float32)
    pixels = _interpolated(pixels, *resampling.rows, axis=0)
    pixels = _interpolated(pixels, *resampling.columns, axis=1)
    return np.clip(pixels + 0.5, 0, 255).astype(np.uint8)


def resample_labels(read: ReadTile, tile: Tile, scale: float) -> np.ndarray:
    """Read a tile of the scaled slide by nearest neighbour, so that labels are not mixed.

    Args:
        read: Reads the labels, (height, width, ...) of any type.
        tile: In coordinates multiplied by `scale`.
        scale: Magnification, above 0.

    Returns:
        (height, width, ...) of the type that `read` returns.
    """
    if scale == 1:
        return read(tile)
    y, x = (
        np.floor((np.arange(first, first + length) + 0.5) / scale).astype(int)
        for first, length in ((tile.y, tile.height), (tile.x, tile.width))
    )
    top, left = int(y[0]), int(x[0])
    labels = read(Tile(top, left, int(x[-1]) - left + 1, int(y[-1]) - top + 1))
    return labels.take(y - top, axis=0).take(x - left, axis=1)


def variants_of(options: TokensOptions, fingerprint: str) -> list[Variant]:
    """Return the variants that a slide's token map holds; the first changes nothing.

    Orientations and looks (scale and appearance) are cycled through together, so that each of both
    occurs, in as many variants as the longer list has entries. A look is constant over a slide, as
    the map would have seams otherwise. Scales are the same for all slides, while appearances are
    drawn for each slide from its fingerprint. With few looks chance would leave orders of the
    colours out, so those whose colours are permuted take the five orders in turn.

    Args:
        options: The configuration's section `tokens`.
        fingerprint: Fingerprint of the slide.
    """
    strength = Strength.of(options.augmentation)
    orders = _orders(options.appearances, strength.permutation, fingerprint)
    looks: list[tuple[float, Appearance]] = [(1.0, UNCHANGED)]
    for n in range(options.appearances):
        power = (2 * n + 1) / options.appearances - 1  # even, and the same for all slides
        random = np.random.default_rng([*fingerprint.encode(), n])
        appearance = Appearance.draw(strength, random, orders[n])
        looks.append(((1 + options.augmentation.scale_jitter) ** power, appearance))
    return [
        Variant(k % options.orientations, *looks[k % len(looks)]) for k in range(options.variants)
    ]


def _orders(looks: int, share: float, fingerprint: str) -> list[Order]:
    """Return the order of the colours of each look; a share of them, evenly spread, is permuted.

    The five permutations follow each other, on each slide from another one on.
    """
    unpermuted, *permuted = ORDERS
    turn = int(np.random.default_rng([*fingerprint.encode()]).integers(len(permuted)))
    orders = []
    for n in range(looks):
        before, after = int(n * share), int((n + 1) * share)
        orders.append(permuted[(turn + before) % len(permuted)] if after > before else unpermuted)
    return orders


def _sources(first: int, length: int, scale: float) -> tuple[int, Neighbours]:
    """Return the first source pixel of `length` scaled pixels from `first` on, and all others."""
    sources = (np.arange(first, first + length) + 0.5) / scale - 0.5
    before = np.floor(sources).astype(int)
    return int(before[0]), (before - before[0], (sources - before).astype(np.float32))


def _interpolated(
    array: np.ndarray, before: np.ndarray, share: np.ndarray, axis: int
) -> np.ndarray:
    """Interpolate (height, width, 3) float32 along an axis, from pixels `before` and the next."""
    share = share[:, None, None] if axis == 0 else share[:, None]
    low, high = array.take(before, axis=axis), array.take(before + 1, axis=axis)
    return low + (high - low) * share
