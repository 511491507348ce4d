"""From tiles to finished rows: stages that overlap, with bounded queues between them.

Threads read tiles ahead into page-locked memory, one thread keeps the device busy and blends, the
caller writes. Neither how many tiles are read ahead or computed at once, nor by how many threads,
alters a result: tiles are blended in one order.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from holohisto.device import device_of
from holohisto.infer.clock import Clock
from holohisto.infer.open_rows import SEAM, OpenRows
from holohisto.infer.predict import predict
from holohisto.infer.probability_map import quarter
from holohisto.runtime.prefetch import prefetch
from holohisto.runtime.progress import track
from holohisto.segmenter.file import Segmenter
from holohisto.segmenter.inputs import Inputs
from holohisto.tiles.grid import Tile, tile_rows, whole

TileData = tuple[np.ndarray | None, np.ndarray | None]
ReadTile = Callable[[Tile], TileData]
"""Tokens (h, w) int64 and pixels (height, width, 3) uint8 of a tile; None for what is not read."""


@dataclass(frozen=True)
class Job:
    """What is segmented and how."""

    size: tuple[int, int]
    """Working width and height of the slide."""
    tile: tuple[int, int]
    overlap: float
    wanted: Callable[[Tile], bool]
    """Whether a tile holds foreground; the others are skipped."""
    snap: int
    """Tile origins and sides are multiples of it: of the tokens' f and of DIVISOR."""
    threshold: float = 0.5
    """Probability from which a pixel is the class."""

    @property
    def fitted(self) -> tuple[int, int]:
        """Width and height of every tile, no larger than the slide needs."""
        width, height = (min(t, s) for t, s in zip(self.tile, self.size, strict=True))
        return whole((width, height), self.snap)

    @property
    def rows(self) -> list[list[Tile]]:
        """All tiles, row by row; a band ends where the next row of tiles begins."""
        return tile_rows(self.size, self.fitted, self.overlap, self.snap)

    @property
    def ends(self) -> list[int]:
        """Row after the last of each band."""
        return [*(row[0].y for row in self.rows[1:]), self.size[1]]


@dataclass(frozen=True)
class Speed:
    """What alters the time that inference takes, and its memory, but no result."""

    batch: int = 1
    """Tiles that the model computes at once."""
    readers: int = 2
    """Threads that read tiles."""
    queue: int = 4
    """Batches that are read ahead."""
    parallel_batches: int = 1
    """Batches computed side by side, on a CPU."""


@dataclass(frozen=True)
class Band:
    """Finished rows of a slide."""

    labels: np.ndarray
    """(rows, width) uint8, bit i for class i."""
    probability: np.ndarray
    """(rows / 4, width / 4) uint8, rounded up: means of the largest probability."""
    seam: np.ndarray
    """(classes, 2) int64: pixels along tile borders where overlapping tiles differ, and where
    either has the class."""


@dataclass(frozen=True)
class _Batch:
    tiles: tuple[Tile, ...]
    tokens: Tensor | None = None
    rgb: Tensor | None = None


@dataclass
class _Stages:
    """The model, what feeds it, and what is measured on the way."""

    model: Segmenter
    inputs: Inputs
    read: ReadTile
    clock: Clock
    device: torch.device = field(init=False)

    def __post_init__(self) -> None:
        self.device = device_of(self.model)

    def load(self, tiles: tuple[Tile, ...]) -> _Batch:
        """Read tiles; for a GPU into page-locked memory, which torch hands round."""
        with self.clock("read"):
            tokens, rgb = zip(*map(self.read, tiles), strict=True)
            return _Batch(tiles, self._stack(tokens), self._stack(rgb))

    def compute(self, batch: _Batch) -> list[tuple[Tile, Tensor]]:
        """Return each tile with its probabilities (classes, height, width)."""
        rgb = None if batch.rgb is None else batch.rgb.permute(0, 3, 1, 2)
        with self.clock("tokenise" if self.inputs.tokenizer is not None else "model"):
            given = self.inputs(batch.tokens, rgb, self.device)
        tile = batch.tiles[0]
        with self.clock("model"):
            found = predict(self.model, *given, (tile.height, tile.width))
        return list(zip(batch.tiles, found, strict=True))

    def _stack(self, parts: tuple[np.ndarray | None, ...]) -> Tensor | None:
        if parts[0] is None:
            return None
        stacked = torch.from_numpy(np.stack([part for part in parts if part is not None]))
        return stacked.pin_memory() if self.device.type == "cuda" else stacked


def segment_slide(
    model: Segmenter,
    inputs: Inputs,
    read: ReadTile,
    job: Job,
    classes: int,
    speed: Speed = Speed(),  # frozen
    clock: Clock | None = None,
    first: int = 0,
) -> Iterator[Band]:
    """Yield the bands of a slide from number `first` on.

    Tiles overlap and are blended with Gaussian weights. Pixels that no tile covers are 0. Bands
    before `first` are not yielded, and only those of their tiles are computed that reach below.
    """
    clock = clock or Clock(device_of(model))
    for seam, probability in _finished(model, inputs, read, job, classes, speed, clock, first):
        with clock("stitch"):
            parts = (_labels(probability, job.threshold), quarter(probability), seam)
            band = Band(*(part.cpu().numpy() for part in parts))
        yield band


def probability_bands(
    model: Segmenter,
    inputs: Inputs,
    read: ReadTile,
    job: Job,
    classes: int,
    speed: Speed = Speed(),  # frozen
) -> Iterator[Tensor]:
    """Yield class probabilities instead, (classes, rows, width) float32, to be copied at once."""
    clock = Clock(device_of(model))
    for _, probability in _finished(model, inputs, read, job, classes, speed, clock, 0):
        yield probability


def _finished(
    model: Segmenter,
    inputs: Inputs,
    read: ReadTile,
    job: Job,
    classes: int,
    speed: Speed,
    clock: Clock,
    first: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the seam counts of each row of tiles and the rows that it finishes."""
    rows, ends = job.rows, job.ends
    begin = next(n for n in range(len(rows)) if rows[n][0].y + job.fitted[1] > _top(ends, first))
    wanted = {n: [tile for tile in rows[n] if job.wanted(tile)] for n in range(begin, len(rows))}
    stages = _Stages(model, inputs, read, clock)
    # A batch stays within its row of tiles, so that it is the same when work is taken up.
    batches = [batch for tiles in wanted.values() for batch in _chunks(tiles, speed.batch)]
    loaded = prefetch(stages.load, batches, speed.readers, speed.queue)
    side_by_side = speed.parallel_batches if speed.parallel_batches > 1 else 0
    computed = prefetch(stages.compute, loaded, side_by_side, speed.parallel_batches)
    total = sum(map(len, wanted.values()))
    predictions = track(chain.from_iterable(computed), total, "tiles")
    width = max(tile.x + tile.width for tile in rows[0])
    still = OpenRows(classes, width, job.fitted, job.threshold, stages.device)
    still.top = rows[begin][0].y
    columns = [tile.x for tile in rows[0]]
    for n in range(begin, len(rows)):
        above = [row[0].y for row in rows[:n]]
        for _ in wanted[n]:
            tile, probability = next(predictions)
            with clock("stitch"):
                if n >= first:
                    left = [x for x in columns if x < tile.x]
                    still.compare(tile, probability, strips(tile, left, above, job.size))
                still.add(tile, probability)
        count = ends[n] - still.top
        with clock("stitch"):
            done = still.upper(count)[:, :, : job.size[0]] if n >= first else None
        if done is not None:
            yield still.take_seam(), done
        still.move_down(count)
    next(predictions, None)  # ends the progress


def strips(
    tile: Tile, left: list[int], above: list[int], size: tuple[int, int]
) -> list[tuple[slice, slice]]:
    """Rows and columns, within a tile, along its borders and those of the tiles before it.

    Args:
        tile: The tile.
        left: First columns of the tiles to its left.
        above: First rows of the tiles above it.
        size: Width and height of the slide; what hangs over is left out.
    """
    width, height = min(tile.width, size[0] - tile.x), min(tile.height, size[1] - tile.y)
    across = _strips(tile.x, tile.width, left, width)
    down = _strips(tile.y, tile.height, above, height)
    vertical = [(slice(0, height), columns) for columns in across]
    return vertical + [(rows, slice(0, width)) for rows in down]


def _strips(start: int, side: int, before: list[int], inside: int) -> list[slice]:
    """Strips along one axis: after its own border, and before the borders of earlier tiles."""
    ends = [other + side - start for other in before if other + side > start]
    own = [slice(0, min(SEAM, inside))] if ends else []
    return own + [
        slice(max(0, end - SEAM), min(end, inside)) for end in ends if end - SEAM < inside
    ]


def _top(ends: list[int], first: int) -> int:
    return ends[first - 1] if first else 0


def _labels(band: Tensor, threshold: float) -> Tensor:
    bits = torch.zeros(band.shape[1:], dtype=torch.uint8, device=band.device)
    for index, probability in enumerate(band):
        bits |= (probability >= threshold).to(torch.uint8) << index
    return bits


def _chunks(tiles: list[Tile], count: int) -> list[tuple[Tile, ...]]:
    return [tuple(tiles[start : start + count]) for start in range(0, len(tiles), count)]
