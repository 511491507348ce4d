"""The colour of tissue, mean and covariance of its optical density, and the common stain."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEAST_SPREAD = 0.02
"""Smallest standard deviation of an optical density that is stretched to another."""

KNEE = 0.3
"""Share of the mean density below which densities are mapped so that glass, of density 0, keeps
it."""

Triple = tuple[float, float, float]
Matrix = tuple[Triple, Triple, Triple]


@dataclass(frozen=True)
class Colour:
    """Optical density of the stained tissue of a slide in red, green and blue.

    Natural logarithm, relative to the slide's own glass.
    """

    mean: Triple
    covariance: Matrix

    @property
    def spread(self) -> np.ndarray:
        """Standard deviations, (3,) float64."""
        return np.sqrt(np.diag(self.covariance))

    def stretch(self, other: "Colour") -> np.ndarray:
        """Return the factors, (3,), from the standard deviations of this colour to another's."""
        return other.spread / np.maximum(self.spread, LEAST_SPREAD)

    def brought_to(self, other: "Colour") -> "Colour":
        """Return this colour with means and standard deviations of another."""
        stretch = self.stretch(other)
        covariance = np.outer(stretch, stretch) * np.array(self.covariance)
        return Colour.of(other.mean, covariance.tolist())

    @classmethod
    def of(cls, mean: Sequence[float], covariance: Sequence[Sequence[float]]) -> "Colour":
        """Make from the values of three channels, such as JSON's lists."""
        return cls(triple(mean), matrix(covariance))


def mapped(density: np.ndarray, mean: np.ndarray, gain: np.ndarray, aim: np.ndarray) -> np.ndarray:
    """Map densities linearly, their mean to `aim`; glass stays glass.

    Below KNEE times the mean the map is a line to 0, where the linear one would tint glass.

    Args:
        density: (..., C) float, 0 or more.
        mean: (C,), their means.
        gain: (C,), slopes.
        aim: (C,), what the means are mapped to.

    Returns:
        (..., C) of the type of `density`, 0 or more.
    """
    gain, offset, steep = (values.astype(density.dtype) for values in lines_of_map(mean, gain, aim))
    result = density * gain
    result += offset
    np.minimum(result, density * steep, out=result, where=np.broadcast_to(offset > 0, result.shape))
    return np.maximum(result, 0, out=result)


def lines_of_map(
    mean: np.ndarray, gain: np.ndarray, aim: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the two lines of `mapped`, whose result is the smaller one, and 0 at least.

    Args:
        mean: (C,), mean densities.
        gain: (C,), slopes, above 0.
        aim: (C,), what the means are mapped to.

    Returns:
        Slope and offset of the line, and the slope of the one through 0; each (C,) float64.
    """
    offset = aim - gain * mean
    knee = np.maximum(KNEE * mean, LEAST_SPREAD)
    return gain, offset, np.where(offset > 0, gain + offset / knee, gain)


def triple(values: Sequence[float]) -> Triple:
    """Return three numbers, such as an array's, as a tuple that can be compared and hashed."""
    red, green, blue = values
    return float(red), float(green), float(blue)


def matrix(rows: Sequence[Sequence[float]]) -> Matrix:
    """Return three rows of three numbers as tuples that can be compared and hashed."""
    red, green, blue = (triple(row) for row in rows)
    return red, green, blue


COMMON = Colour(
    mean=(0.26, 0.48, 0.25),
    covariance=((0.048, 0.065, 0.032), (0.065, 0.116, 0.053), (0.032, 0.053, 0.027)),
)
"""The common stain, about that of human PAS."""
