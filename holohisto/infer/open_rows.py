"""The rows of a slide that later tiles can still touch."""

import torch
from torch import Tensor

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

    def __init__(self, job: Job, top: int, device: torch.device) -> None:
        """Open the rows of a tile from `top` on, all empty, on `device`."""
        (_, height), width = job.fitted, job.rows[0][-1].x + job.fitted[0]
        self.top = top
        self.weights = torch.from_numpy(gaussian_weights(*job.fitted)).to(device)
        self.sum = torch.zeros(job.classes, height, width, device=device)
        self.weight = torch.zeros(height, width, device=device)

    def add(self, tile: Tile, probability: Tensor) -> None:
        """Blend in a tile (classes, height, width) whose top is that of the open rows."""
        columns = slice(tile.x, tile.x + tile.width)
        self.sum[:, :, columns].addcmul_(probability, self.weights)
        self.weight[:, columns].add_(self.weights)

    def upper(self, rows: int) -> Tensor:
        """Divide the uppermost rows, (classes, rows, columns); `move_down` must come next."""
        done = self.sum[:, :rows]
        return done.div_(self.weight[:rows].clamp_min(LEAST_WEIGHT))

    def move_down(self, rows: int) -> None:
        """Forget the uppermost rows and open as many below."""
        height = len(self.weight)
        for kept in (self.sum, self.weight):
            kept[..., : height - rows, :] = kept[..., rows:, :].clone()
            kept[..., height - rows :, :] = 0
        self.top += rows
