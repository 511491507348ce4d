"""Tiles of the training slides' tissue, drawn at random."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from holohisto.annotation import Annotation
from holohisto.annotation.cells import annotated_cells
from holohisto.annotation.reopened import ReopenedAnnotation, open_annotation
from holohisto.config.sections import Classes
from holohisto.config.training import TokenizerOptions
from holohisto.foreground.map import load_foreground
from holohisto.foreground.tissue import Tissue
from holohisto.runtime.open_files import OpenFiles
from holohisto.runtime.results import Results
from holohisto.sheet.cells import Row
from holohisto.sheet.rows import read_sheet
from holohisto.slide.record import SlideRecord
from holohisto.slide.reopened import ReopenedSlide
from holohisto.tiles.appearance import Appearance, Strength
from holohisto.tiles.grid import Tile
from holohisto.tiles.randomness import Purpose, generator
from holohisto.tiles.rectangles import in_pixels, random_rectangle, swap
from holohisto.tiles.variants import Variant, orient, resample, resample_labels
from holohisto.tokenizer.training import TissueBatch

STAIN_TILES = 4
"""Tiles of a step that are of one slide in one stain, about."""
ANNOTATED_SHARE = 0.5
"""Share of the tiles that are drawn around annotated objects, where annotations are read."""


@dataclass(frozen=True)
class AnnotatedTissue:
    """One training slide."""

    tissue: Tissue
    annotation: Annotation | ReopenedAnnotation | None
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


def training_tissue(
    sheet: Path, results: Results, classes: Classes, files: OpenFiles
) -> list[AnnotatedTissue]:
    """Open the slides with the split train that are not excluded.

    Args:
        sheet: The sample sheet.
        results: Folder with their records and foreground maps.
        classes: The classes whose annotations are opened; none: no annotation is, and the sheet's
            column `annotated` may name any.
        files: The open files of the training, which bound its memory.

    Raises:
        HolohistoError: a file is missing or damaged.
    """
    rows = read_sheet(sheet, tuple(classes) or None).values()
    used = (row for row in rows if row.split == "train" and not row.exclude)
    return [_opened(row, results, classes, files) for row in used]


def _opened(row: Row, results: Results, classes: Classes, files: OpenFiles) -> AnnotatedTissue:
    """Open the slide of a row, as `training_tissue` does."""
    record = SlideRecord.read(results.record(row.slide))
    foreground = load_foreground(results.foreground(row.slide), record)
    slide = ReopenedSlide(files, lambda: record.open(row.image))
    tissue = Tissue(slide, record.scale, foreground)
    path = row.annotation
    if path is None or not classes:
        return AnnotatedTissue(tissue, None, tuple(False for _ in classes))

    def opener() -> Annotation:
        return Annotation(path, classes, record.size, record.scale, row.annotated, record.bounds)

    known = tuple(row.annotated is None or name in row.annotated for name in classes)
    return AnnotatedTissue(tissue, open_annotation(files, path, opener), known)


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

    def step(self, step: int, options: TokenizerOptions, seed: int) -> list[TissueBatch]:
        """Return the tiles of a training step, a function of seed and number of the step.

        Each batch is of one slide, in one stain. Its tiles are turned and scaled at random, and
        pairs of them exchange a rectangle.

        Args:
            step: Number of the step.
            options: Number and size of the tiles, and how far they are changed.
            seed: Seed of the run.
        """
        stains = max(1, options.batch // STAIN_TILES)
        ends = [options.batch * n // stains for n in range(stains + 1)]
        return [
            self.batch(step * stains + n, end - start, options, seed)
            for n, (start, end) in enumerate(pairwise(ends))
        ]

    def batch(self, n: int, tiles: int, options: TokenizerOptions, seed: int) -> TissueBatch:
        """Return the n-th batch, of `tiles` tiles of one slide in one stain."""
        random = generator(seed, Purpose.TOKENIZER_SLIDE, n)
        index = self._slide(random)
        slide = self.slides[index]
        strength = Strength.of(options.augmentation)
        appearance = Appearance.draw(strength, random).on(slide.tissue.foreground.common_colour)
        drawn = [
            self._turned(
                index, options, generator(seed, Purpose.TOKENIZER_TILE, n * options.batch + k)
            )
            for k in range(tiles)
        ]
        own, annotated = (np.stack(arrays) for arrays in zip(*drawn, strict=True))
        square = 2 ** (len(options.multipliers) - 1)
        for first in range(0, tiles - 1, 2):
            if random.random() < options.cutmix:
                squares = random_rectangle(options.tile // square, options.tile // square, random)
                for array in (own, annotated):
                    swap(array[:, *in_pixels(squares, square)], first, first + 1)
        return TissueBatch(
            seen=np.stack([appearance.apply(rgb) for rgb in own]),
            own=own,
            annotated=annotated.transpose(0, 3, 1, 2),
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
        return self._plain(self._slide(random), tiles, side, random)

    def tiles_of(self, index: int, tiles: int, side: int) -> list[np.ndarray]:
        """Return tiles of one slide, the same for every seed; arguments as of `example`."""
        return self._plain(index, tiles, side, generator(0, Purpose.TOKENIZER_EXAMPLE, index))

    def _plain(
        self, index: int, tiles: int, side: int, random: np.random.Generator
    ) -> list[np.ndarray]:
        """Draw tiles as they are, (side, side, 3) uint8."""
        drawn = [self._tile(index, self._cells[index], side, random) for _ in range(tiles)]
        return [self.slides[index].tissue.read(tile) for tile in drawn]

    def _turned(
        self, index: int, options: TokenizerOptions, random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw a tile, scaled and turned at random, and where classes are annotated on it."""
        slide = self.slides[index]
        around = len(self._annotated[index]) > 0 and random.random() < ANNOTATED_SHARE
        cells = (self._annotated if around else self._cells)[index]
        scale = (1 + options.augmentation.scale_jitter) ** float(random.uniform(-1, 1))
        tile = self._tile(index, cells, options.tile, random, scale)
        turn = int(random.integers(8))
        return (
            orient(resample(slide.tissue.read, tile, scale), turn),
            orient(resample_labels(slide.annotated, tile, scale), turn),
        )

    def _slide(self, random: np.random.Generator) -> int:
        return int(np.searchsorted(self._ends, random.integers(self._ends[-1]), side="right"))

    def _tile(
        self,
        index: int,
        cells: np.ndarray,
        side: int,
        random: np.random.Generator,
        scale: float = 1.0,
    ) -> Tile:
        """Draw a square that a random point of the cells, (n, 2) rows and columns, lies in.

        It is a tile of the slide's picture scaled by `scale`.
        """
        slide = self.slides[index]
        cell = slide.tissue.foreground.cell
        row, column = cells[random.integers(len(cells))] * cell
        y, x = (
            int((corner + random.integers(cell)) * scale) - int(random.integers(side))
            for corner in (row, column)
        )
        width, height = Variant(scale=scale).size(slide.size)
        x, y = min(max(x, 0), max(0, width - side)), min(max(y, 0), max(0, height - side))
        return Tile(y, x, side, side)
