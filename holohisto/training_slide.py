"""A slide as training sees it: tokens, pixels and annotation of any tile."""

from dataclasses import dataclass

import numpy as np

from holohisto.annotation import Annotation
from holohisto.grid import Tile
from holohisto.sampler import Field
from holohisto.slide import Slide
from holohisto.tokens import TokenMap, tile_tokens


@dataclass(frozen=True)
class Batch:
    """Tiles of one shape, stacked.

    `tokens` (B, h, w) int64 or None, `rgb` (B, 3, H, W) uint8 or None, `target` and `known`
    (B, C, H, W) bool; `names` says slide and tile of each, for messages.
    """

    tokens: np.ndarray | None
    rgb: np.ndarray | None
    target: np.ndarray
    known: np.ndarray
    names: tuple[str, ...]


class TrainingSlide:
    """Reads tiles, given in working pixels, of one annotated slide."""

    def __init__(
        self,
        name: str,
        slide: Slide,
        factor: int,
        annotation: Annotation,
        known: tuple[bool, ...],
        field: Field,
        token_map: TokenMap | None,
    ) -> None:
        """`known` says of each class whether the slide's annotation covers it."""
        self.name, self.slide, self.factor = name, slide, factor
        self.annotation, self.known = annotation, np.array(known)
        self.field, self.token_map = field, token_map

    def tokens(self, tile: Tile) -> np.ndarray:
        """Return the tile's slice of the token map, (h, w) int64."""
        assert self.token_map is not None
        return tile_tokens(self.token_map, tile)

    def rgb(self, tile: Tile) -> np.ndarray:
        """Return the tile's pixels, (height, width, 3) uint8."""
        xy = (tile.x * self.factor, tile.y * self.factor)
        return self.slide.read(xy, (tile.width, tile.height), self.factor)

    def target(self, tile: Tile) -> tuple[np.ndarray, np.ndarray]:
        """Return what is annotated and what is known, each (classes, height, width) bool."""
        xy = (tile.x * self.factor, tile.y * self.factor)
        bits = self.annotation.read(xy, (tile.width, tile.height))
        classes = np.arange(len(self.known), dtype=np.uint8)[:, None, None]
        inside = np.zeros(bits.shape, bool)
        width, height = self.field.size
        inside[: max(0, height - tile.y), : max(0, width - tile.x)] = True
        return (bits >> classes & 1).astype(bool), self.known[:, None, None] & inside


def stack(parts: list[tuple[TrainingSlide, Tile]], needs_tokens: bool, needs_pixels: bool) -> Batch:
    """Read tiles of one shape and stack them."""
    targets, known = zip(*(slide.target(tile) for slide, tile in parts), strict=True)
    return Batch(
        tokens=np.stack([slide.tokens(tile) for slide, tile in parts]) if needs_tokens else None,
        rgb=(
            np.stack([slide.rgb(tile).transpose(2, 0, 1) for slide, tile in parts])
            if needs_pixels
            else None
        ),
        target=np.stack(targets),
        known=np.stack(known),
        names=tuple(f"{slide.name} at ({tile.x}, {tile.y})" for slide, tile in parts),
    )


def annotated_cells(
    annotation: Annotation, size: tuple[int, int], factor: int, cell: int
) -> np.ndarray:
    """Return which cells hold an annotated pixel of any class, (rows, columns) bool.

    Reads the annotation once, in bands of 32 cells.
    """
    rows, columns = -(-size[1] // cell), -(-size[0] // cell)
    found = np.zeros((rows, columns), bool)
    for row in range(0, rows, 32):
        height = min(32, rows - row)
        bits = annotation.read((0, row * cell * factor), (columns * cell, height * cell))
        found[row : row + height] = bits.reshape(height, cell, columns, cell).any(axis=(1, 3))
    return found
