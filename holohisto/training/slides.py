"""Tokens, pixels and annotation of the tiles of a training slide, and batches of them."""

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from holohisto.annotation import Annotation
from holohisto.annotation.reopened import ReopenedAnnotation
from holohisto.foreground.tissue import Tissue
from holohisto.tiles.grid import Tile
from holohisto.tiles.variants import Variant, orient, resample_labels
from holohisto.tokens.token_map import TokenMap, tile_tokens
from holohisto.training.sampler import SamplingArea

if TYPE_CHECKING:
    from torch import Tensor

    from holohisto.training.pixels import DrawnPixels

ORIGINAL = Variant()
"""The slide itself: not turned, not scaled, not recoloured."""


@dataclass(frozen=True)
class Batch:
    """Tiles of one shape, stacked."""

    tokens: np.ndarray | None
    """(B, h, w) int64, ~t for a token t that is left out; None for networks that read none."""
    rgb: "np.ndarray | Tensor | None"
    """(B, 3, H, W) uint8, on the training's device or the CPU; None for networks that read none."""
    target: np.ndarray
    """(B, C, H, W) bool, where each class is annotated."""
    known: np.ndarray
    """(B, C, H, W) bool, where the annotation covers the class."""
    names: tuple[str, ...]
    """Slide and position of each tile, for messages."""
    seeds: tuple[int, ...]
    """Seed of each tile's random choices within the network."""

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        arrays = (self.tokens, self.rgb, self.target, self.known)
        return sum(array.nbytes for array in arrays if array is not None)

    def split(self, parts: int) -> list["Batch"]:
        """Split into `parts` batches of nearly equal numbers of tiles."""
        bounds = [len(self.names) * n // parts for n in range(parts + 1)]
        return [self.tiles(start, end) for start, end in pairwise(bounds)]

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
        annotation: Annotation | ReopenedAnnotation,
        known: tuple[bool, ...],
        area: SamplingArea,
        token_map: TokenMap | None,
    ) -> None:
        """Keep open what tiles are read from.

        Args:
            name: The slide's id.
            tissue: Its pixels, white outside the foreground.
            annotation: Its annotation.
            known: For each class, whether the annotation covers it.
            area: Where training tiles are drawn.
            token_map: Its token map; None where the network reads no cached tokens.
        """
        self.name, self.tissue = name, tissue
        self.annotation, self.known = annotation, np.array(known)
        self.area, self.token_map = area, token_map

    def tokens(self, tile: Tile, variant: int = 0) -> np.ndarray:
        """Return the tile's slice of a variant of the token map, (h, w) int64."""
        assert self.token_map is not None
        return tile_tokens(self.token_map, tile, variant)

    def rgb(self, tile: Tile) -> np.ndarray:
        """Return the tile's pixels, (height, width, 3) uint8, white outside the foreground."""
        return self.tissue.read(tile)

    def target(self, tile: Tile) -> tuple[np.ndarray, np.ndarray]:
        """Return where classes are annotated and known, each (classes, height, width) bool.

        Nothing is known beyond the slide's borders.
        """
        return self.by_class(self.labels(tile))

    def labels(self, tile: Tile) -> np.ndarray:
        """Return the tile's annotation, (height, width, 2) uint8.

        The first value has the bits of the annotated classes, the second is 1 within the slide.
        """
        bits = self.annotation.read((tile.x, tile.y), (tile.width, tile.height))
        labels = np.zeros((*bits.shape, 2), np.uint8)
        labels[..., 0] = bits
        width, height = self.area.size
        labels[: max(0, height - tile.y), : max(0, width - tile.x), 1] = 1
        return labels

    def by_class(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where classes are annotated and known, each (classes, height, width) bool.

        Args:
            labels: (height, width, 2) uint8, see `labels`; may be turned and scaled.
        """
        bits, inside = (np.ascontiguousarray(labels[..., n]) for n in (0, 1))
        bit = (1 << np.arange(len(self.known), dtype=np.uint8))[:, None, None]
        return (bits & bit).astype(bool), self.known[:, None, None] & inside.astype(bool)


@dataclass(frozen=True)
class View:
    """A tile of a slide as it is shown to a segmenter."""

    slide: TrainingSlide
    tile: Tile
    """In the variant's coordinates, before it is turned."""
    variant: Variant = ORIGINAL
    variant_index: int = 0
    """Index of the variant in the slide's token map."""
    token_dropout: float = 0.0
    """Largest share of the tokens that are left out; the tile's is drawn evenly from 0 to it."""
    random: np.random.Generator | None = None
    """Draws how many and which tokens are left out; None: none are."""
    seed: int = 0
    """Seed of the network's channel dropout."""

    def tokens(self) -> np.ndarray:
        """Return the tokens, (h, w) int64; ~t, which is negative, where token t is left out."""
        tokens = orient(self.slide.tokens(self.tile, self.variant_index), self.variant.orientation)
        if self.random is None or self.token_dropout == 0:
            return tokens
        # Tiles with nearly all tokens, as in inference, are as frequent as those with the fewest.
        share = self.random.uniform(0, self.token_dropout)
        left_out = self.random.random(tokens.shape) < share
        return np.where(left_out, ~tokens, tokens)

    def rgb(self) -> np.ndarray:
        """Return the pixels, (3, height, width) uint8."""
        rgb = self.variant.read(self.slide.rgb, self.tile)
        return orient(rgb, self.variant.orientation).transpose(2, 0, 1)

    def drawn(self) -> "DrawnPixels":
        """Read what `rgb` is computed from; `shown` computes the same on a device."""
        from holohisto.training.pixels import DrawnPixels  # by torch, which scoring does without

        return DrawnPixels.read(self.slide.rgb, self.tile, self.variant)

    def target(self) -> tuple[np.ndarray, np.ndarray]:
        """Return where classes are annotated and known, each (classes, height, width) bool."""
        labels = resample_labels(self.slide.labels, self.tile, self.variant.scale)
        return self.slide.by_class(orient(labels, self.variant.orientation))


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
