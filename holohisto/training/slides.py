"""A slide as training sees it: tokens, pixels and annotation of any tile."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from holohisto.annotation import Annotation
from holohisto.foreground.tissue import Tissue
from holohisto.runtime.arithmetic import ceil_div
from holohisto.tiles.grid import Tile
from holohisto.tiles.variants import Variant, orient, resample_labels
from holohisto.tokens.token_map import TokenMap, tile_tokens
from holohisto.training.sampler import Field


@dataclass(frozen=True)
class Batch:
    """Tiles of one shape, stacked.

    `tokens` (B, h, w) int64 or None, `rgb` (B, 3, H, W) uint8 or None, `target` and `known`
    (B, C, H, W) bool; `names` says slide and tile of each, for messages; `seeds` are of what is
    random within the network.
    """

    tokens: np.ndarray | None
    rgb: np.ndarray | None
    target: np.ndarray
    known: np.ndarray
    names: tuple[str, ...]
    seeds: tuple[int, ...]

    def split(self, parts: int) -> list["Batch"]:
        """Return it in parts of nearly equal numbers of tiles."""
        ends = [len(self.names) * part // parts for part in range(parts + 1)]
        return [self.tiles(start, end) for start, end in pairwise(ends)]

    def tiles(self, start: int, end: int) -> "Batch":
        """Return the tiles from `start` to before `end`."""
        return Batch(
            None if self.tokens is None else self.tokens[start:end],
            None if self.rgb is None else self.rgb[start:end],
            self.target[start:end],
            self.known[start:end],
            self.names[start:end],
            self.seeds[start:end],
        )


class TrainingSlide:
    """Reads tiles, given in working pixels, of one annotated slide."""

    def __init__(
        self,
        name: str,
        tissue: Tissue,
        annotation: Annotation,
        known: tuple[bool, ...],
        field: Field,
        token_map: TokenMap | None,
    ) -> None:
        """`known` says of each class whether the slide's annotation covers it."""
        self.name, self.tissue, self.factor = name, tissue, tissue.factor
        self.annotation, self.known = annotation, np.array(known)
        self.field, self.token_map = field, token_map

    def tokens(self, tile: Tile, variant: int = 0) -> np.ndarray:
        """Return the tile's slice of a variant of the token map, (h, w) int64."""
        assert self.token_map is not None
        return tile_tokens(self.token_map, tile, variant)

    def rgb(self, tile: Tile) -> np.ndarray:
        """Return the tile's pixels, (height, width, 3) uint8, white outside the foreground."""
        return self.tissue.read(tile)

    def target(self, tile: Tile) -> tuple[np.ndarray, np.ndarray]:
        """Return what is annotated and what is known, each (classes, height, width) bool."""
        xy = (tile.x * self.factor, tile.y * self.factor)
        bits = self.annotation.read(xy, (tile.width, tile.height))
        classes = np.arange(len(self.known), dtype=np.uint8)[:, None, None]
        inside = np.zeros(bits.shape, bool)
        width, height = self.field.size
        inside[: max(0, height - tile.y), : max(0, width - tile.x)] = True
        return (bits >> classes & 1).astype(bool), self.known[:, None, None] & inside


AS_IT_IS = Variant()


@dataclass(frozen=True)
class View:
    """A tile of a slide as it is shown to a segmenter."""

    slide: TrainingSlide
    tile: Tile
    """In the variant's coordinates, not turned."""
    variant: Variant = AS_IT_IS
    place: int = 0
    """Of the variant in the slide's token map."""
    token_dropout: float = 0.0
    """Share of the tokens that are left out."""
    random: np.random.Generator | None = None
    """Chooses which."""
    seed: int = 0
    """Of what the network leaves out."""

    def tokens(self) -> np.ndarray:
        """Return the tokens, (h, w) int64; -1 where one is left out."""
        tokens = orient(self.slide.tokens(self.tile, self.place), self.variant.orientation)
        if self.random is None or self.token_dropout == 0:
            return tokens
        return np.where(self.random.random(tokens.shape) < self.token_dropout, -1, tokens)

    def rgb(self) -> np.ndarray:
        """Return the pixels, (3, height, width) uint8."""
        rgb = self.variant.read(self.slide.rgb, self.tile)
        return orient(rgb, self.variant.orientation).transpose(2, 0, 1)

    def target(self) -> tuple[np.ndarray, np.ndarray]:
        """Return what is annotated and what is known, each (classes, height, width) bool."""
        both = resample_labels(self._target, self.tile, self.variant.scale)
        turned = orient(both, self.variant.orientation).transpose(2, 0, 1)
        classes = len(self.slide.known)
        return turned[:classes], turned[classes:]

    def _target(self, tile: Tile) -> np.ndarray:
        """Annotated, then known, in the slide's coordinates, (height, width, 2 * classes)."""
        return np.concatenate(self.slide.target(tile)).transpose(1, 2, 0)


def stack(views: list[View], needs_tokens: bool, needs_pixels: bool) -> Batch:
    """Read views of one shape and stack them."""
    targets, known = zip(*(view.target() for view in views), strict=True)
    return Batch(
        tokens=np.stack([view.tokens() for view in views]) if needs_tokens else None,
        rgb=np.stack([view.rgb() for view in views]) if needs_pixels else None,
        target=np.stack(targets),
        known=np.stack(known),
        names=tuple(f"{v.slide.name} at ({v.tile.x}, {v.tile.y})" for v in views),
        seeds=tuple(view.seed for view in views),
    )


def annotated_cells(
    annotation: Annotation, size: tuple[int, int], factor: int, cell: int
) -> np.ndarray:
    """Return which cells hold an annotated pixel of any class, (rows, columns) bool.

    Reads the annotation once, in bands of 32 cells.
    """
    rows, columns = ceil_div(size[1], cell), ceil_div(size[0], cell)
    found = np.zeros((rows, columns), bool)
    for row in range(0, rows, 32):
        height = min(32, rows - row)
        bits = annotation.read((0, row * cell * factor), (columns * cell, height * cell))
        found[row : row + height] = bits.reshape(height, cell, columns, cell).any(axis=(1, 3))
    return found
