"""From tiles to finished rows: stages that overlap, with bounded queues between them.

Threads read tiles ahead into page-locked memory, one thread keeps the device busy and blends, the
caller writes. Neither how many tiles are read ahead or computed at once, nor by how many threads,
alters a result: tiles are blended in one order.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from holohisto.infer.clock import Clock
from holohisto.infer.job import DEFAULT_SPEED, Job, Speed
from holohisto.infer.open_rows import OpenRows
from holohisto.infer.predict import Predictor
from holohisto.infer.probability_map import quarter
from holohisto.infer.seams import Seams
from holohisto.runtime.prefetch import prefetch
from holohisto.runtime.progress import track
from holohisto.tiles.grid import Tile

TileInputs = tuple[np.ndarray | None, np.ndarray | None]
ReadInputs = Callable[[Tile], TileInputs]
"""Tokens (h, w) int64 and pixels (height, width, 3) uint8 of a tile; None for what is not read."""


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
    tokens: Tensor | None
    rgb: Tensor | None


@dataclass(frozen=True)
class _Stages:
    """Reading and computing batches of tiles, with their times measured."""

    predictor: Predictor
    read: ReadInputs
    clock: Clock

    def load(self, tiles: tuple[Tile, ...]) -> _Batch:
        """Read tiles; for a GPU into page-locked memory, which torch reuses."""
        with self.clock("read"):
            tokens, rgb = zip(*map(self.read, tiles), strict=True)
            return _Batch(tiles, self._stack(tokens), self._stack(rgb))

    def compute(self, batch: _Batch) -> list[tuple[Tile, Tensor]]:
        """Return each tile with its probabilities (classes, height, width) float32."""
        inputs = self.predictor.inputs
        rgb = None if batch.rgb is None else batch.rgb.permute(0, 3, 1, 2)
        with self.clock("tokenise" if inputs.encoder is not None else "model"):
            tokens, pixels = inputs(batch.tokens, rgb, self.predictor.device)
        first = batch.tiles[0]
        with self.clock("model"):
            probabilities = self.predictor(tokens, pixels, (first.height, first.width))
        return list(zip(batch.tiles, probabilities, strict=True))

    def _stack(self, arrays: tuple[np.ndarray | None, ...]) -> Tensor | None:
        if arrays[0] is None:
            return None
        stacked = torch.from_numpy(np.stack([array for array in arrays if array is not None]))
        return stacked.pin_memory() if self.predictor.device.type == "cuda" else stacked


def finished_bands(
    predictor: Predictor,
    read: ReadInputs,
    job: Job,
    speed: Speed = DEFAULT_SPEED,
    clock: Clock | None = None,
    first: int = 0,
) -> Iterator[Band]:
    """Yield the bands of a slide from number `first` on.

    Tiles overlap and are blended with Gaussian weights. Pixels that no tile covers are 0. Bands
    before `first` are not yielded, and only those of their tiles are computed that reach below.

    Args:
        predictor: The segmenter.
        read: Reads the inputs of a tile; called by several threads at once.
        job: What is segmented.
        speed: Settings that alter no result.
        clock: Measures the stages; None: they are not measured.
        first: Number of the first band.
    """
    clock = clock or Clock(predictor.device)
    for probability, seam in blended_bands(predictor, read, job, speed, clock, first):
        with clock("stitch"):
            tensors = (_label_bits(probability, job.threshold), quarter(probability), seam)
            band = Band(*(tensor.cpu().numpy() for tensor in tensors))
        yield band


def blended_bands(
    predictor: Predictor, read: ReadInputs, job: Job, speed: Speed, clock: Clock, first: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the probabilities (classes, rows, width) float32 of each band and its seam counts.

    The probabilities are valid until the next band is asked for. Arguments as `finished_bands`.
    """
    rows, ends = job.rows, job.ends
    top = ends[first - 1] if first else 0
    begin = next(n for n in range(len(rows)) if rows[n][0].y + job.fitted[1] > top)
    wanted = {n: [tile for tile in rows[n] if job.wanted(tile)] for n in range(begin, len(rows))}
    predictions = _predictions(_Stages(predictor, read, clock), list(wanted.values()), speed)
    open_rows = OpenRows(job, rows[begin][0].y, predictor.device)
    seams = Seams(job, predictor.device)
    for n in range(begin, len(rows)):
        for _ in wanted[n]:
            tile, probability = next(predictions)
            with clock("stitch"):
                if n >= first:
                    seams.compare(open_rows, tile, probability)
                open_rows.add(tile, probability)
        count = ends[n] - open_rows.top
        with clock("stitch"):
            done = open_rows.upper(count)[:, :, : job.size[0]] if n >= first else None
        if done is not None:
            yield done, seams.take()
        open_rows.move_down(count)
    next(predictions, None)  # ends the progress


def _predictions(
    stages: _Stages, rows: list[list[Tile]], speed: Speed
) -> Iterator[tuple[Tile, Tensor]]:
    """Yield the tiles of all rows, in order, with their probabilities."""
    # A batch stays within its row of tiles, so that a resumed run computes the same batches.
    batches = [batch for tiles in rows for batch in _batches(tiles, speed.batch)]
    loaded = prefetch(stages.load, batches, speed.readers, speed.queue)
    workers = speed.parallel_batches if speed.parallel_batches > 1 else 0
    computed = prefetch(stages.compute, loaded, workers, speed.parallel_batches)
    return track(chain.from_iterable(computed), sum(map(len, rows)), "tiles")


def _label_bits(probability: Tensor, threshold: float) -> Tensor:
    """(classes, rows, width) -> (rows, width) uint8, bit i where class i reaches the threshold."""
    bits = torch.zeros(probability.shape[1:], dtype=torch.uint8, device=probability.device)
    for index, layer in enumerate(probability):
        bits |= (layer >= threshold).to(torch.uint8) << index
    return bits


def _batches(tiles: list[Tile], count: int) -> list[tuple[Tile, ...]]:
    return [tuple(tiles[start : start + count]) for start in range(0, len(tiles), count)]
