"""Which tile is training sample n: random 4K tiles over the foreground, or a fixed grid."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from holohisto.runtime.arithmetic import round_up
from holohisto.tiles.grid import Tile, holds_foreground, tile_rows, whole
from holohisto.tiles.randomness import Purpose, generator
from holohisto.tiles.variants import Variant, transposes

ORIGINAL_ONLY = (Variant(),)
"""No augmentation: every tile as it is on the slide."""


@dataclass(frozen=True)
class SamplingArea:
    """Where training tiles are drawn from on a slide, in square cells."""

    size: tuple[int, int]
    """Working width and height of the slide."""
    cell: int
    """Side of a cell, working pixels."""
    foreground: np.ndarray
    """(rows, columns) bool, cells that hold tissue."""
    annotated: np.ndarray
    """(rows, columns) uint8, bit i set in cells that hold an annotated pixel of class i."""

    @property
    def pixels(self) -> int:
        """Area of the foreground, working pixels."""
        return int(self.foreground.sum()) * self.cell**2


@dataclass(frozen=True)
class Sample:
    """One training tile."""

    slide: int
    """Index of the slide in the sampler's list."""
    tile: Tile
    """In the variant's coordinates, before it is turned."""
    variant: int = 0
    """Index of the variant in the sampler's list."""


class RandomSampler:
    """The paper's sampler: tiles anywhere in the foreground, chosen while training.

    A slide is drawn by its foreground area, a cell of it uniformly, a point in the cell uniformly;
    the point lies at a uniformly random position within the tile, so that tissue is not always
    central. Origins are multiples of `snap`, so that the tile's tokens are a slice of the token
    map.
    """

    def __init__(
        self,
        areas: Sequence[SamplingArea],
        tile: tuple[int, int],
        snap: int,
        seed: int,
        annotated_share: float,
        variants: Sequence[Variant] = ORIGINAL_ONLY,
    ) -> None:
        """Index the cells to draw from.

        Args:
            areas: Tissue and annotated objects of each slide.
            tile: Width and height of a tile as the segmenter sees it, after it is turned.
            snap: Tile origins are multiples of it, working pixels.
            seed: Seed of all draws.
            annotated_share: Share of the samples that draw their point from annotated cells.
            variants: Variants, drawn uniformly.
        """
        self.variants = variants
        self.areas, self.tile, self.snap, self.seed = areas, whole(tile, snap), snap, seed
        self.annotated_share = annotated_share
        self._foreground = _Cells([area.foreground for area in areas])
        self._annotated = _Cells([area.foreground & (area.annotated > 0) for area in areas])

    def __call__(self, n: int) -> Sample:
        """Return sample n of the training."""
        random = generator(self.seed, Purpose.SAMPLE, n)
        index = int(random.integers(len(self.variants)))
        variant = self.variants[index]
        width, height = self.tile[:: -1 if transposes(variant.orientation) else 1]
        from_annotated = random.random() < self.annotated_share and self._annotated.total > 0
        slide, row, column = (self._annotated if from_annotated else self._foreground).draw(random)
        area = self.areas[slide]
        y, x = (
            min(cell * area.cell + int(random.integers(area.cell)), side - 1)
            for cell, side in ((row, area.size[1]), (column, area.size[0]))
        )
        size = variant.size(area.size)
        tile = Tile(
            self._origin(int(y * variant.scale), height, size[1], random),
            self._origin(int(x * variant.scale), width, size[0], random),
            width,
            height,
        )
        return Sample(slide, tile, index)

    def _origin(self, point: int, tile: int, side: int, random: np.random.Generator) -> int:
        offset = int(random.integers(tile - self.snap + 1))
        last = round_up(max(0, side - tile), self.snap)
        return min(max(0, point - offset) // self.snap * self.snap, last)


class GridSampler:
    """The ablation: tiles of a fixed grid that hold foreground, in an order drawn per round.

    Every variant has a grid of its own, laid in its coordinates, so that all variants occur, as
    with tiles at random places.
    """

    def __init__(
        self,
        areas: Sequence[SamplingArea],
        tile: tuple[int, int],
        snap: int,
        seed: int,
        variants: Sequence[Variant] = ORIGINAL_ONLY,
    ) -> None:
        """Lay the grids over every slide; the arguments are those of `RandomSampler`."""
        self.seed = seed
        self.samples = [
            Sample(slide, grid_tile, index)
            for index, variant in enumerate(variants)
            for slide, area in enumerate(areas)
            for grid_tile in foreground_tiles(area, tile, snap, variant)
        ]

    def __call__(self, n: int) -> Sample:
        """Return sample n of the training; every round of all samples has an order of its own."""
        turn, position = divmod(n, len(self.samples))
        order = generator(self.seed, Purpose.GRID_ORDER, turn).permutation(len(self.samples))
        return self.samples[order[position]]


class _Cells:
    """The cells of many slides, drawn uniformly."""

    def __init__(self, maps: list[np.ndarray]) -> None:
        self.flat = [np.flatnonzero(cells).astype(np.int32) for cells in maps]
        self.columns = [cells.shape[1] for cells in maps]
        self.ends = np.cumsum([len(flat) for flat in self.flat])
        self.total = int(self.ends[-1])

    def draw(self, random: np.random.Generator) -> tuple[int, int, int]:
        """Return slide, row and column of one cell."""
        index = int(random.integers(self.total))
        slide = int(np.searchsorted(self.ends, index, side="right"))
        start = int(self.ends[slide - 1]) if slide else 0
        row, column = divmod(int(self.flat[slide][index - start]), self.columns[slide])
        return slide, row, column


def foreground_tiles(
    area: SamplingArea, tile: tuple[int, int], snap: int, variant: Variant = ORIGINAL_ONLY[0]
) -> list[Tile]:
    """Return the tiles of the origin-anchored grid without overlap that hold foreground.

    Args:
        area: The slide's size and foreground.
        tile: Width and height of a tile, after it is turned.
        snap: Both are rounded up to multiples of it, working pixels.
        variant: The grid and the tiles are in its coordinates, before they are turned.
    """
    width, height = whole(tile, snap)[:: -1 if transposes(variant.orientation) else 1]
    return [
        t
        for row in tile_rows(variant.size(area.size), (width, height), 0.0, snap)
        for t in row
        if holds_foreground(area.foreground, area.cell, _on_slide(t, variant.scale))
    ]


def _on_slide(tile: Tile, scale: float) -> Tile:
    """Return the part of the slide that a tile of its scaled picture shows."""
    x, y = math.floor(tile.x / scale), math.floor(tile.y / scale)
    right, bottom = (math.ceil(end / scale) for end in (tile.x + tile.width, tile.y + tile.height))
    return Tile(y, x, right - x, bottom - y)


def fitted(tile: tuple[int, int], areas: Sequence[SamplingArea]) -> tuple[int, int]:
    """Limit a tile to the size of the largest slide: beyond it there is only background."""
    width, height = (
        min(side, max(area.size[axis] for area in areas)) for axis, side in enumerate(tile)
    )
    return width, height


def equal_pixels(batch: int, tile: tuple[int, int], other: tuple[int, int]) -> int:
    """Return how many tiles of the size `other` have as many pixels as a batch of `tile`.

    If that is no whole number, it is rounded to the nearest multiple of 8, 4 or 2 within 2 %, which
    as many devices can share, else to the nearest whole number.
    """
    exact = batch * tile[0] * tile[1] / (other[0] * other[1])
    if exact.is_integer():
        return int(exact)
    for shares in (8, 4, 2):
        number = round(exact / shares) * shares
        if abs(number - exact) <= 0.02 * exact:
            return number
    return max(1, round(exact))
