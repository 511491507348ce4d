"""From tiles to finished rows: stages that overlap, with bounded queues between them.

Threads read tiles ahead into page-locked memory, one thread keeps the device busy and blends, the
caller writes. Neither how many tiles are read ahead or computed at once, nor by how many threads,
alters a result: tiles are blended in one order.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np

from holohisto.infer.arrays import Array, Arrays
from holohisto.infer.clock import Clock
from holohisto.infer.job import DEFAULT_SPEED, Job, Speed
from holohisto.infer.open_rows import OpenRows
from holohisto.infer.predictor import Predictor, TileInputs
from holohisto.infer.probability_map import quarter
from holohisto.infer.seams import Seams
from holohisto.runtime.prefetch import prefetch
from holohisto.runtime.progress import track
from holohisto.tiles.grid import Tile

ReadInputs = Callable[[Tile], TileInputs]
"""Reads what a segmenter needs of a tile."""


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
    inputs: TileInputs


@dataclass(frozen=True)
class _Stages:
    """Reading and computing batches of tiles, with their times measured."""

    predictor: Predictor
    read: ReadInputs
    clock: Clock

    def load(self, tiles: tuple[Tile, ...]) -> _Batch:
        """Read tiles."""
        with self.clock("read"):
            return _Batch(tiles, self.predictor.stacked([self.read(tile) for tile in tiles]))

    def compute(self, batch: _Batch) -> list[tuple[Tile, Array]]:
        """Return each tile with its probabilities (classes, height, width) float32."""
        with self.clock("tokenise" if self.predictor.tokenises else "model"):
            inputs = self.predictor.prepared(batch.inputs)
        first = batch.tiles[0]
        with self.clock("model"):
            probabilities = self.predictor(inputs, (first.height, first.width))
        return list(zip(batch.tiles, probabilities, strict=True))


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
    clock, arrays = clock or Clock(predictor.on_gpu), predictor.arrays
    for probability, seam in blended_bands(predictor, read, job, speed, clock, first):
        with clock("stitch"):
            labels = arrays.numpy(_label_bits(probability, job.threshold, arrays))
            band = Band(labels, quarter(probability, arrays), arrays.numpy(seam))
        yield band


def blended_bands(
    predictor: Predictor, read: ReadInputs, job: Job, speed: Speed, clock: Clock, first: int = 0
) -> Iterator[tuple[Array, Array]]:
    """Yield the probabilities (classes, rows, width) float32 of each band and its seam counts.

    The probabilities are valid until the next band is asked for. Arguments as `finished_bands`.
    """
    rows, ends = job.rows, job.ends
    top = ends[first - 1] if first else 0
    begin = next(n for n in range(len(rows)) if rows[n][0].y + job.fitted[1] > top)
    wanted = {n: [tile for tile in rows[n] if job.wanted(tile)] for n in range(begin, len(rows))}
    predictions = _predictions(_Stages(predictor, read, clock), list(wanted.values()), speed)
    open_rows = OpenRows(job, rows[begin][0].y, predictor.arrays)
    seams = Seams(job, predictor.arrays)
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
) -> Iterator[tuple[Tile, Array]]:
    """Yield the tiles of all rows, in order, with their probabilities."""
    # A batch stays within its row of tiles, so that a resumed run computes the same batches.
    batches = [batch for tiles in rows for batch in _batches(tiles, speed.batch)]
    loaded = prefetch(stages.load, batches, speed.readers, speed.queue)
    workers = speed.parallel_batches if speed.parallel_batches > 1 else 0
    computed = prefetch(stages.compute, loaded, workers, speed.parallel_batches)
    return track(chain.from_iterable(computed), sum(map(len, rows)), "tiles")


def _label_bits(probability: Array, threshold: float, arrays: Arrays) -> Array:
    """(classes, rows, width) -> (rows, width) uint8, bit i where class i reaches the threshold."""
    bits = arrays.zeros(probability.shape[1:], "uint8")
    for index, layer in enumerate(probability):
        bits |= (layer >= threshold).view(arrays.library.uint8) << index
    return bits


def _batches(tiles: list[Tile], count: int) -> list[tuple[Tile, ...]]:
    return [tuple(tiles[start : start + count]) for start in range(0, len(tiles), count)]
