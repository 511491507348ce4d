"""How the pixels of level 0 and those of the working resolution lie over each other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated

import numpy as np
from pydantic import PlainSerializer, PlainValidator

LONGEST_TEXT = 100
"""Characters of a stored fraction."""
LARGEST = 10_000
"""Largest number of level-0 pixels per working pixel, and largest denominator, so that sums of
areas fit 64 bits."""


@dataclass(frozen=True)
class Scale:
    """Level-0 pixels per working pixel, exact, along x and along y.

    Working pixel i covers the level-0 pixels from i * x to (i + 1) * x. A level-0 pixel belongs to
    the working pixel that its centre lies in.
    """

    x: Fraction
    y: Fraction

    @classmethod
    def whole(cls, factor: int) -> "Scale":
        """Return the scale of working pixels of `factor` x `factor` level-0 pixels."""
        return cls(Fraction(factor), Fraction(factor))

    @classmethod
    def parse(cls, value: object) -> "Scale":
        """Return the scale that `texts` describe, as they are stored, or a whole number.

        Raises:
            ValueError: they are no two positive fractions.
        """
        if isinstance(value, Scale):
            return value
        if isinstance(value, int):
            return cls.whole(value)
        if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
            raise ValueError(f"a scale is two fractions, not {value!r}")
        if any(len(str(text)) > LONGEST_TEXT or "e" in str(text).lower() for text in value):
            raise ValueError(f"a scale is two short fractions, not {value!r}")  # 1e999999999
        try:
            x, y = (Fraction(str(text)) for text in value)
        except ZeroDivisionError as error:
            raise ValueError(f"a scale is no division by 0: {value!r}") from error
        if min(x, y) <= 0:
            raise ValueError(f"a scale is positive, not {value!r}")
        if min(x, y) < 1 / LARGEST or max(x, y) > LARGEST:
            raise ValueError(f"a scale is from 1/{LARGEST} to {LARGEST}, not {value!r}")
        if max(x.denominator, y.denominator) > LARGEST:
            raise ValueError(f"a scale has denominators up to {LARGEST}, not {value!r}")
        return cls(x, y)

    @property
    def texts(self) -> list[str]:
        """The scale along x and y as exact fractions, for JSON."""
        return [str(self.x), str(self.y)]

    @property
    def factor(self) -> int | None:
        """The whole number of level-0 pixels a side of a working pixel; None for other scales."""
        whole = self.x == self.y and self.x.denominator == 1
        return self.x.numerator if whole else None

    def __str__(self) -> str:
        x, y = (f"{float(step):.5g}" for step in (self.x, self.y))
        return x if self.x == self.y else f"{x} x {y}"

    def __iter__(self) -> Iterator[Fraction]:
        return iter((self.x, self.y))

    def times(self, count: int) -> "Scale":
        """Return the scale of squares of `count` x `count` working pixels."""
        return Scale(self.x * count, self.y * count)

    def working_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return width and height at working resolution, rounded up, of a slide of `size`."""
        width, height = size
        return -(-width // self.x), -(-height // self.y)

    def first_pixel(self, xy: Sequence[int]) -> tuple[int, int]:
        """Return the first level-0 pixel, x and y, that belongs to a working pixel or a later one.

        Args:
            xy: Column and row of the working pixel.
        """
        x, y = xy
        return int(first_pixels(self.x, x)), int(first_pixels(self.y, y))


def first_pixels(step: Fraction, working: np.ndarray | int) -> np.ndarray:
    """Return, along one side, the first level-0 pixel that belongs to each working pixel.

    Args:
        step: Level-0 pixels per working pixel.
        working: Numbers of working pixels, integers of any shape.

    Returns:
        int64 of the same shape; it may be that of the next working pixel where `step` is below 1.
    """
    p, q = step.numerator, step.denominator
    return (2 * np.asarray(working, np.int64) * p + q - 1) // (2 * q)


def working_pixels(step: Fraction, pixels: np.ndarray | int) -> np.ndarray:
    """Return, along one side, the working pixel that each level-0 pixel belongs to.

    Args:
        step: Level-0 pixels per working pixel.
        pixels: Numbers of level-0 pixels, integers of any shape.

    Returns:
        int64 of the same shape.
    """
    p, q = step.numerator, step.denominator
    return (2 * np.asarray(pixels, np.int64) + 1) * q // (2 * p)


ScaleField = Annotated[
    Scale, PlainValidator(Scale.parse), PlainSerializer(lambda scale: scale.texts)
]
"""A scale as a field of a pydantic model, in JSON two fractions."""
