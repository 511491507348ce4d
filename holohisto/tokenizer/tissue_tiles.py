"""Tiles of the training slides' tissue, drawn at random."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from holohisto.annotation import Annotation
from holohisto.annotation.cells import annotated_cells
from holohisto.config.sections import Classes
from holohisto.foreground.map import load_foreground
from holohisto.foreground.tissue import Tissue
from holohisto.runtime.results import Results
from holohisto.sheet.rows import read_sheet
from holohisto.slide.record import SlideRecord
from holohisto.tiles.appearance import Appearance, Strength
from holohisto.tiles.grid import Tile
from holohisto.tiles.randomness import Purpose, generator
from holohisto.tiles.variants import orient
from holohisto.tokenizer.training import TissueBatch

ANNOTATED_SHARE = 0.5
"""Share of the tiles that are drawn around annotated objects, where annotations are read."""


@dataclass(frozen=True)
class AnnotatedTissue:
    """One training slide."""

    tissue: Tissue
    annotation: Annotation | None
    known: tuple[bool, ...]
    """For each class, whether it is annotated on this slide."""

    @property
    def size(self) -> tuple[int, int]:
        """Working width and height."""
        return self.tissue.scale.working_size(self.tissue.slide.size)

    @property
    def annotated_cells(self) -> np.ndarray:
        """Cells of tissue that hold an annotated pixel, (rows, columns) bool."""
        foreground = self.tissue.foreground
        if self.annotation is None:
            return np.zeros(foreground.mask.shape, bool)
        bits = annotated_cells(self.annotation, self.size, foreground.cell)
        return foreground.mask & (bits > 0)

    def annotated(self, tile: Tile) -> np.ndarray:
        """Return where classes are annotated, (height, width, classes) bool."""
        if self.annotation is None:
            return np.zeros((tile.height, tile.width, len(self.known)), bool)
        bits = self.annotation.read((tile.x, tile.y), (tile.width, tile.height))
        return (bits[..., None] >> np.arange(len(self.known), dtype=np.uint8) & 1).astype(bool)


def training_tissue(sheet: Path, results: Results, classes: Classes) -> list[AnnotatedTissue]:
    """Open the slides with the split train that are not excluded.

    Args:
        sheet: The sample sheet.
        results: Folder with their records and foreground maps.
        classes: The classes whose annotations are opened; none: no annotation is.

    Raises:
        HolohistoError: a file is missing or damaged.
    """
    opened = []
    for row in read_sheet(sheet, tuple(classes)).values():
        if row.split != "train" or row.exclude:
            continue
        record = SlideRecord.read(results.record(row.slide))
        foreground = load_foreground(results.foreground(row.slide), record)
        tissue = Tissue(record.open(row.image), record.scale, foreground)
        annotation, known = None, tuple(False for _ in classes)
        if classes and row.annotation is not None:
            annotation = Annotation(
                row.annotation, classes, record.size, record.scale, row.annotated, record.bounds
            )
            known = tuple(row.annotated is None or name in row.annotated for name in classes)
        opened.append(AnnotatedTissue(tissue, annotation, known))
    return opened


class TissueTiles:
    """Tiles that a random point of the tissue lies in; every slide's share is its tissue's area."""

    def __init__(self, slides: list[AnnotatedTissue]) -> None:
        """Take the slides' tissue; without slides no tile can be read."""
        self.slides = slides
        self._cells = [np.argwhere(slide.tissue.foreground.mask) for slide in slides]
        self._annotated = [np.argwhere(slide.annotated_cells) for slide in slides]
        areas = [
            len(cells) * slide.tissue.foreground.cell**2
            for slide, cells in zip(slides, self._cells, strict=True)
        ]
        self._ends = np.cumsum(areas)

    def batch(self, step: int, tiles: int, side: int, seed: int, strength: Strength) -> TissueBatch:
        """Return the tiles of a training step: of one slide, in one stain, turned at random.

        Args:
            step: Number of the step; its tiles are a function of seed and number.
            tiles: Number of tiles.
            side: Working pixels.
            seed: Seed of the run.
            strength: How far stains may be from the slide's own.
        """
        random = generator(seed, Purpose.TOKENIZER_SLIDE, step)
        index = self._slide(random)
        slide = self.slides[index]
        appearance = Appearance.draw(strength, random).on(slide.tissue.foreground.common_colour)
        own, annotated = [], []
        for n in range(step * tiles, (step + 1) * tiles):
            draw = generator(seed, Purpose.TOKENIZER_TILE, n)
            around = len(self._annotated[index]) > 0 and draw.random() < ANNOTATED_SHARE
            cells = (self._annotated if around else self._cells)[index]
            tile = self._tile(index, cells, side, draw)
            turn = int(draw.integers(8))
            own.append(orient(slide.tissue.read(tile), turn))
            annotated.append(orient(slide.annotated(tile), turn))
        pixels = np.stack(own)
        return TissueBatch(
            seen=np.stack([appearance.apply(np.ascontiguousarray(rgb)) for rgb in own]),
            own=pixels,
            annotated=np.stack(annotated).transpose(0, 3, 1, 2),
            known=np.array(slide.known, bool),
        )

    def example(self, n: int, tiles: int, side: int) -> list[np.ndarray]:
        """Return tiles of one slide, the n-th shown in the report, the same for every seed.

        Args:
            n: Number of the example.
            tiles: Number of tiles.
            side: Working pixels.

        Returns:
            Tiles (side, side, 3) uint8.
        """
        random = generator(0, Purpose.TOKENIZER_EXAMPLE, n)
        index = self._slide(random)
        drawn = [self._tile(index, self._cells[index], side, random) for _ in range(tiles)]
        return [self.slides[index].tissue.read(tile) for tile in drawn]

    def _slide(self, random: np.random.Generator) -> int:
        return int(np.searchsorted(self._ends, random.integers(self._ends[-1]), side="right"))

    def _tile(self, index: int, cells: np.ndarray, side: int, random: np.random.Generator) -> Tile:
        """Draw a square that a random point of the cells, (n, 2) rows and columns, lies in."""
        slide = self.slides[index]
        cell = slide.tissue.foreground.cell
        row, column = cells[random.integers(len(cells))] * cell
        y, x = (
            int(corner + random.integers(cell) - random.integers(side)) for corner in (row, column)
        )
        width, height = slide.size
        x, y = min(max(x, 0), max(0, width - side)), min(max(y, 0), max(0, height - side))
        return Tile(y, x, side, side)
