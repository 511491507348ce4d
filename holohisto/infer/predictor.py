"""What computes the probabilities of tiles: torch on a GPU, OpenVINO on a CPU."""

from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import numpy as np

from holohisto.infer.arrays import Array, Arrays


class TileInputs(NamedTuple):
    """What a segmenter reads of one or several tiles; None for what it does not read."""

    tokens: Any
    """(h, w) int64 of a tile, (B, h, w) of several."""
    rgb: Any
    """(height, width, 3) uint8 of a tile, (B, height, width, 3) of several."""


class Predictor(Protocol):
    """A segmenter, ready to compute."""

    name: str
    """Name of the GPU, or of the CPU's architecture."""
    engine: str
    """Library that computes, and its precision."""
    arrays: Arrays
    """The arrays of its results."""
    on_gpu: bool
    parallel: int
    """Batches that are computed side by side."""
    reads_tokens: bool
    """Whether to read from the token map."""
    reads_pixels: bool
    tokenises: bool
    """Whether tiles are encoded when they are used: mode `online`."""

    def stacked(self, tiles: list[TileInputs]) -> TileInputs:
        """Join the inputs of tiles of one size; called by several threads at once."""
        ...

    def prepared(self, batch: TileInputs) -> TileInputs:
        """Bring inputs to the device and encode them where that is to be done."""
        ...

    def __call__(self, batch: TileInputs, size: tuple[int, int]) -> list[Array]:
        """Return the probabilities of each tile, (classes, height, width) float32.

        Args:
            batch: From `prepared`.
            size: (height, width) of a tile.
        """
        ...

    def in_fp32(self) -> "Predictor | None":
        """Return the same in fp32, to compare with bf16 on a CPU; None where it is fp32 itself."""
        ...

    def working(self) -> AbstractContextManager[None]:
        """Return the context in which all of this is done."""
        ...


def stack(tiles: list[TileInputs]) -> TileInputs:
    """Join the arrays of numpy of tiles of one size."""
    if len(tiles) == 1:
        return TileInputs(*(None if array is None else array[None] for array in tiles[0]))
    tokens, rgb = zip(*tiles, strict=True)
    return TileInputs(
        None if tokens[0] is None else np.stack(tokens), None if rgb[0] is None else np.stack(rgb)
    )
