"""Means of areas of pixels, exact and the same for any tiling."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

ROWS = 32
"""Rows of the result that are computed at a time, so that sums stay in the processor's cache."""


@dataclass(frozen=True)
class Side:
    """Pixels of a result along one axis, and the source pixels that they cover.

    Pixel i covers the source from i * step to (i + 1) * step. A source pixel's weight is the part
    of it that is covered, in units of 1 / step.denominator: an integer.
    """

    step: Fraction
    """Source pixels per pixel of the result."""
    first: int
    """First pixel of the result."""
    count: int
    """Number of pixels of the result."""

    @property
    def start(self) -> int:
        """First source pixel that is covered."""
        return self.first * self.step.numerator // self.step.denominator

    @property
    def length(self) -> int:
        """Number of source pixels from the first to the last that are covered."""
        end = (self.first + self.count) * self.step.numerator
        return -(-end // self.step.denominator) - self.start

    def area(self, other: "Side") -> int:
        """Return the area of a pixel of this side and another, in the units of both weights."""
        return self.step.numerator * other.step.numerator

    def taps(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return, for the first, second, ... source pixel under each pixel, its place and weight.

        Returns:
            Pairs of index from `start` on, (count,) int64, and weight, (count,) int64, which is 0
            beyond the last source pixel under a pixel.
        """
        p, q = self.step.numerator, self.step.denominator
        low = np.arange(self.first, self.first + self.count, dtype=np.int64) * p
        index = low // q
        pairs = []
        for tap in range(-(-p // q) + 1):
            at = index + tap
            weight = np.minimum(low + p, (at + 1) * q) - np.maximum(low, at * q)
            pairs.append((np.minimum(at - self.start, self.length - 1), np.maximum(weight, 0)))
        return pairs


def area_means(pixels: np.ndarray, across: Side, down: Side) -> np.ndarray:
    """Return the means of the areas under pixels, rounded half up.

    Args:
        pixels: (down.length, across.length, channels) uint8, the covered source pixels.
        across: The columns of the result.
        down: The rows of the result.

    Returns:
        (down.count, across.count, channels) uint8.
    """
    area = across.area(down)
    result = np.empty((down.count, across.count, pixels.shape[2]), np.uint8)
    for rows, sums in area_sums(pixels, across, down, 255 + 1):
        result[rows] = (sums + area // 2) // area
    return result


def area_sums(
    pixels: np.ndarray, across: Side, down: Side, largest: int
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield the sums of values over the areas under pixels, for some rows of the result at a time.

    Args:
        pixels: (down.length, across.length, channels) uint8, the covered source pixels.
        across: The columns of the result.
        down: The rows of the result.
        largest: Upper bound of the means.

    Yields:
        Rows of the result, and their sums, (rows, across.count, channels) uint32 or uint64; of 1
        everywhere: `across.area(down)`.
    """
    kind = np.uint32 if largest * across.area(down) < 2**32 else np.uint64
    rows_of, columns_of = down.taps(), across.taps()
    for top in range(0, down.count, ROWS):
        rows = slice(top, top + ROWS)
        taps = [(index[rows], weight[rows]) for index, weight in rows_of]
        yield rows, _weighted(_weighted(pixels, taps, 0, kind), columns_of, 1, kind)


def _weighted(
    pixels: np.ndarray, taps: list[tuple[np.ndarray, np.ndarray]], axis: int, kind: type
) -> np.ndarray:
    """Weighted sums along an axis, whose length becomes that of the taps."""
    sums = np.zeros(1, kind)
    for index, weight in taps:
        if weight.any():
            shape = [1] * pixels.ndim
            shape[axis] = -1
            sums = sums + np.take(pixels, index, axis) * weight.astype(kind).reshape(shape)
    return sums


def block_means(pixels: np.ndarray, block: int) -> np.ndarray:
    """Return the means of blocks of pixels, rounded half up.

    Args:
        pixels: (height * block, width * block, channels) uint8.
        block: Side of a block.

    Returns:
        (height, width, channels) uint8.
    """
    kind = np.uint16 if block <= 16 else np.uint32  # 16 * 16 * 255 fits 16 bits
    height, width, channels = pixels.shape
    rows = np.zeros((height // block, width, channels), kind)
    for i in range(block):
        rows += pixels[i::block]
    sums = np.zeros((height // block, width // block, channels), np.uint32)
    for j in range(block):
        sums += rows[:, j::block]
    area = block * block
    return ((sums + area // 2) // area).astype(np.uint8)
