"""The rows of a slide that later tiles can still touch."""

from holohisto.infer.arrays import Array, Arrays
from holohisto.infer.job import Job
from holohisto.tiles.grid import Tile, gaussian_weights

LEAST_WEIGHT = 1e-12
"""Divisor where no tile lies, so that the quotient is 0."""


class OpenRows:
    """Numerator and denominator of blended tiles.

    Attributes:
        top: First row of the slide that is open.
        sum: (classes, rows, width) float32, weighted probabilities.
        weight: (rows, width) float32.
    """

    def __init__(self, job: Job, top: int, arrays: Arrays) -> None:
        """Open the rows of a tile from `top` on, all empty."""
        (_, height), width = job.fitted, job.rows[0][-1].x + job.fitted[0]
        self.top, self._arrays = top, arrays
        self.weights = arrays.of(gaussian_weights(*job.fitted))
        self.sum = arrays.zeros((job.classes, height, width))
        self.weight = arrays.zeros((height, width))

    def add(self, tile: Tile, probability: Array) -> None:
        """Blend in a tile (classes, height, width) whose top is that of the open rows.

        The tile is multiplied by the weights in place.
        """
        columns = slice(tile.x, tile.x + tile.width)
        probability *= self.weights
        self.sum[:, :, columns] += probability
        self.weight[:, columns] += self.weights

    def upper(self, rows: int) -> Array:
        """Divide the uppermost rows, (classes, rows, columns); `move_down` must come next."""
        done = self.sum[:, :rows]
        done /= self._arrays.library.clip(self.weight[:rows], LEAST_WEIGHT, None)
        return done

    def move_down(self, rows: int) -> None:
        """Forget the uppermost rows and open as many below."""
        height = len(self.weight)
        for kept in (self.sum, self.weight):
            kept[..., : height - rows, :] = self._arrays.copy(kept[..., rows:, :])
            kept[..., height - rows :, :] = 0
        self.top += rows
