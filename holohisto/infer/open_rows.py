"""The rows of a slide that later tiles can still touch."""

import torch
from torch import Tensor

from holohisto.tiles.grid import Tile, gaussian_weights

SEAM = 16
"""Width of the strips along tile borders in which overlapping tiles are compared, pixels."""
NEXT_TO_NOTHING = 1e-12


class OpenRows:
    """Numerator and denominator of blended tiles, and where tiles disagree."""

    def __init__(
        self,
        classes: int,
        width: int,
        tile: tuple[int, int],
        threshold: float,
        device: torch.device,
    ) -> None:
        """All rows are empty.

        Args:
            classes: Number of classes.
            width: Columns that tiles reach.
            tile: Width and height of every tile.
            threshold: Probability from which a pixel is the class.
            device: Where the rows are kept.
        """
        self.device, self.threshold = device, threshold
        self.weights = torch.from_numpy(gaussian_weights(*tile)).to(device)
        self.top = 0
        self.sum = torch.zeros(classes, tile[1], width, device=device)
        self.weight = torch.zeros(tile[1], width, device=device)
        self.seam = torch.zeros(classes, 2, dtype=torch.int64, device=device)

    def add(self, tile: Tile, probability: Tensor) -> None:
        """Blend in a tile (classes, height, width) whose top is that of the open rows."""
        columns = slice(tile.x, tile.x + tile.width)
        self.sum[:, :, columns].addcmul_(probability, self.weights)
        self.weight[:, columns].add_(self.weights)

    def compare(self, tile: Tile, probability: Tensor, borders: list[tuple[slice, slice]]) -> None:
        """Count where a tile differs from those before it, and where either has the class.

        Args:
            tile: The tile, not yet added.
            probability: (classes, height, width).
            borders: Rows and columns, within the tile, of strips along borders.
        """
        for rows, columns in borders:
            there = slice(tile.x + columns.start, tile.x + columns.stop)
            weight = self.weight[rows, there]
            seen = weight > 0
            before = (self.sum[:, rows, there] >= self.threshold * weight) & seen
            now = (probability[:, rows, columns] >= self.threshold) & seen
            self.seam[:, 0] += (before ^ now).sum(dim=(1, 2))
            self.seam[:, 1] += (before | now).sum(dim=(1, 2))

    def take_seam(self) -> Tensor:
        """Return the counts (classes, 2) int64, differing and either, and start anew."""
        counts, self.seam = self.seam, torch.zeros_like(self.seam)
        return counts

    def upper(self, rows: int) -> Tensor:
        """Divide the uppermost rows, (classes, rows, columns); `move_down` must come next."""
        done = self.sum[:, :rows]
        return done.div_(self.weight[:rows].clamp_min(NEXT_TO_NOTHING))

    def move_down(self, rows: int) -> None:
        """Forget the uppermost rows and open as many below."""
        height = len(self.weight)
        for kept in (self.sum, self.weight):
            kept[..., : height - rows, :] = kept[..., rows:, :].clone()
            kept[..., height - rows :, :] = 0
        self.top += rows
