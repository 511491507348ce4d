"""Which tile is training sample n: random 4K tiles over the foreground, or a fixed grid."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from holohisto.runtime.arithmetic import round_up
from holohisto.tiles.grid import Tile, holds_foreground, tile_rows, whole
from holohisto.tiles.randomness import generator
from holohisto.tiles.variants import Variant, transposes

AS_IT_IS = (Variant(),)


@dataclass(frozen=True)
class Field:
    """Where the tissue of a slide is, in cells of `cell` working pixels."""

    size: tuple[int, int]
    """Working width and height of the slide."""
    cell: int
    foreground: np.ndarray
    """(rows, columns) bool."""
    annotated: np.ndarray
    """(rows, columns) bool, cells that hold an annotated object."""

    @property
    def area(self) -> int:
        """Foreground in working pixels."""
        return int(self.foreground.sum()) * self.cell**2


@dataclass(frozen=True)
class Sample:
    """One training tile."""

    slide: int
    """Place of the slide in the list that the sampler was given."""
    tile: Tile
    """In the variant's coordinates, before it is turned."""
    variant: int = 0
    """Place in the list of variants that the sampler was given."""


class RandomSampler:
    """The paper's sampler: tiles anywhere in the foreground, chosen while training.

    A slide is drawn by its foreground area, a cell of it uniformly, a point in the cell uniformly;
    the point lies at a uniformly random place of the tile, so that tissue is not always central.
    Origins are multiples of `snap`, so that the tile's tokens are a slice of the token map.
    """

    def __init__(
        self,
        fields: list[Field],
        tile: tuple[int, int],
        snap: int,
        seed: int,
        annotated_share: float,
        variants: Sequence[Variant] = AS_IT_IS,
    ) -> None:
        """Prepare the cells to draw from.

        Args:
            fields: Where tissue and annotated objects are, slide by slide.
            tile: Width and height of a tile as the segmenter sees it, turned.
            snap: Every origin is a multiple of it.
            seed: Of the random numbers.
            annotated_share: Share of the samples that draw their point from annotated cells.
            variants: To choose from, evenly.
        """
        self.variants = variants
        self.fields, self.tile, self.snap, self.seed = fields, whole(tile, snap), snap, seed
        self.annotated_share = annotated_share
        self._foreground = _Cells([field.foreground for field in fields])
        self._annotated = _Cells([field.foreground & field.annotated for field in fields])

    def __call__(self, epoch: int, n: int) -> Sample:
        """Return sample n of an epoch."""
        random = generator(self.seed, epoch, n)
        chosen = int(random.integers(len(self.variants)))
        variant = self.variants[chosen]
        width, height = self.tile[:: -1 if transposes(variant.orientation) else 1]
        from_annotated = random.random() < self.annotated_share and self._annotated.total > 0
        slide, row, column = (self._annotated if from_annotated else self._foreground).draw(random)
        field = self.fields[slide]
        y, x = (
            min(cell * field.cell + int(random.integers(field.cell)), side - 1)
            for cell, side in ((row, field.size[1]), (column, field.size[0]))
        )
        size = variant.size(field.size)
        tile = Tile(
            self._origin(int(y * variant.scale), height, size[1], random),
            self._origin(int(x * variant.scale), width, size[0], random),
            width,
            height,
        )
        return Sample(slide, tile, chosen)

    def _origin(self, point: int, tile: int, side: int, random: np.random.Generator) -> int:
        offset = int(random.integers(tile - self.snap + 1))
        last = round_up(max(0, side - tile), self.snap)
        return min(max(0, point - offset) // self.snap * self.snap, last)


class GridSampler:
    """The ablation: tiles of a fixed grid that hold foreground, in an order drawn per epoch."""

    def __init__(
        self,
        fields: list[Field],
        tile: tuple[int, int],
        snap: int,
        seed: int,
        variants: Sequence[Variant] = AS_IT_IS,
    ) -> None:
        """Lay the grid over every slide; tiles are not scaled, nor laid on their side."""
        self.seed = seed
        square = tile[0] == tile[1]
        self.variants = [
            n
            for n, one in enumerate(variants)
            if one.scale == 1 and (square or not transposes(one.orientation))
        ]
        self.tiles = [
            (place, tile_)
            for place, field in enumerate(fields)
            for tile_ in foreground_tiles(field, tile, snap)
        ]

    def __call__(self, epoch: int, n: int) -> Sample:
        """Return sample n of an epoch; after all tiles had their turn they come again."""
        turn, place = divmod(n, len(self.tiles))
        random = generator(self.seed, epoch, turn)
        order = random.permutation(len(self.tiles))
        chosen = random.integers(len(self.variants), size=len(self.tiles))
        slide, tile = self.tiles[order[place]]
        return Sample(slide, tile, self.variants[chosen[place]])


class _Cells:
    """The cells of many slides, drawn uniformly."""

    def __init__(self, maps: list[np.ndarray]) -> None:
        self.flat = [np.flatnonzero(cells).astype(np.int32) for cells in maps]
        self.columns = [cells.shape[1] for cells in maps]
        self.ends = np.cumsum([len(flat) for flat in self.flat])
        self.total = int(self.ends[-1])

    def draw(self, random: np.random.Generator) -> tuple[int, int, int]:
        """Return slide, row and column of one cell."""
        place = int(random.integers(self.total))
        slide = int(np.searchsorted(self.ends, place, side="right"))
        start = int(self.ends[slide - 1]) if slide else 0
        row, column = divmod(int(self.flat[slide][place - start]), self.columns[slide])
        return slide, row, column


def foreground_tiles(field: Field, tile: tuple[int, int], snap: int) -> list[Tile]:
    """Return the tiles of the origin-anchored grid without overlap that hold foreground."""
    return [
        t
        for row in tile_rows(field.size, whole(tile, snap), 0.0, snap)
        for t in row
        if holds_foreground(field.foreground, field.cell, t)
    ]


def fitted(tile: tuple[int, int], fields: list[Field]) -> tuple[int, int]:
    """Cut a tile to the largest slide: what hangs over all of them is background only."""
    width, height = (
        min(side, max(field.size[axis] for field in fields)) for axis, side in enumerate(tile)
    )
    return width, height


def equal_pixels(batch: int, tile: tuple[int, int], other: tuple[int, int]) -> int:
    """Return how many tiles of the size `other` have as many pixels as a batch of `tile`.

    Where it does not come out even: the nearest multiple of 8, 4 or 2 within 2 %, which as many
    devices can share, else the nearest number.
    """
    exact = batch * tile[0] * tile[1] / (other[0] * other[1])
    if exact.is_integer():
        return int(exact)
    for shares in (8, 4, 2):
        number = round(exact / shares) * shares
        if abs(number - exact) <= 0.02 * exact:
            return number
    return max(1, round(exact))


def epoch_length(fields: list[Field], tile: tuple[int, int], coverage: float, batch: int) -> int:
    """Return the samples of an epoch: expected coverage of the foreground, in whole batches."""
    area = sum(field.area for field in fields)
    samples = math.ceil(coverage * area / (tile[0] * tile[1]))
    return max(1, math.ceil(samples / batch)) * batch
