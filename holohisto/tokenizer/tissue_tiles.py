"""Tiles of the training slides' tissue, drawn at random."""

from pathlib import Path

import numpy as np

from holohisto.foreground.map import load_foreground
from holohisto.foreground.tissue import Tissue
from holohisto.runtime.arithmetic import ceil_div
from holohisto.runtime.results import Results
from holohisto.sheet.rows import read_sheet
from holohisto.slide.record import SlideRecord
from holohisto.tiles.appearance import Appearance, Strength
from holohisto.tiles.grid import Tile
from holohisto.tiles.randomness import generator

NO_AUGMENTATION = Strength(stain=0.0, brightness=0.0, blur=0.0)
TRAINING, EXAMPLES = 0, 1
"""Second key of the random generators: tiles to train on, and those shown in the report."""


def training_tissue(sheet: Path, results: Results) -> list[Tissue]:
    """Open the slides with the split train that are not excluded.

    Args:
        sheet: The sample sheet.
        results: Folder with their records and foreground maps.

    Raises:
        HolohistoError: a file is missing or damaged.
    """
    tissues = []
    for row in read_sheet(sheet).values():
        if row.split == "train" and not row.exclude:
            record = SlideRecord.read(results.record(row.slide))
            foreground = load_foreground(results.foreground(row.slide), record)
            tissues.append(Tissue(record.open(row.image), record.factor, foreground))
    return tissues


class TissueTiles:
    """Tiles that a random point of the tissue lies in; every slide's share is its tissue's area."""

    def __init__(self, tissues: list[Tissue]) -> None:
        """Take the slides' tissue; without slides no tile can be read."""
        self.slides = [(tissue, np.argwhere(tissue.foreground.mask)) for tissue in tissues]
        areas = [len(cells) * tissue.foreground.cell**2 for tissue, cells in self.slides]
        self.ends = np.cumsum(areas)

    def tile(
        self, n: int, side: int, seed: int, strength: Strength = NO_AUGMENTATION
    ) -> np.ndarray:
        """Return training tile n, turned, flipped and recoloured at random.

        Args:
            n: Number of the tile; a tile is a function of seed and number.
            side: Working pixels.
            seed: Seed of the run.
            strength: How far appearances may be from the slide's own.

        Returns:
            (side, side, 3) uint8.
        """
        random = generator(seed, TRAINING, n)
        turned = np.rot90(self._read(side, random), int(random.integers(4)))
        turned = turned[:, :: 1 if random.random() < 0.5 else -1]
        return Appearance.draw(strength, random).apply(np.ascontiguousarray(turned))

    def example(self, n: int, side: int) -> np.ndarray:
        """Return tile n of those shown in the report, the same for every seed.

        Args:
            n: Number of the tile.
            side: Working pixels.

        Returns:
            (side, side, 3) uint8.
        """
        return self._read(side, generator(0, EXAMPLES, n))

    def _read(self, side: int, random: np.random.Generator) -> np.ndarray:
        """Read a square that a random point of the tissue lies in."""
        index = int(np.searchsorted(self.ends, random.integers(self.ends[-1]), side="right"))
        tissue, cells = self.slides[index]
        cell = tissue.foreground.cell
        row, column = cells[random.integers(len(cells))] * cell
        y, x = (
            int(corner + random.integers(cell) - random.integers(side)) for corner in (row, column)
        )
        width, height = (ceil_div(length, tissue.factor) for length in tissue.slide.size)
        x, y = min(max(x, 0), max(0, width - side)), min(max(y, 0), max(0, height - side))
        return tissue.read(Tile(y, x, side, side))
