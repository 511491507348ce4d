"""Segmenting one slide, whatever its inputs are read from: the one door to this package.

The verb `infer` opens files and gives their contents to `Segmentation`; `segment_array` segments a
picture in memory.
"""

import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from holohisto.config.sections import InferOptions
from holohisto.foreground.map import Foreground
from holohisto.foreground.tissue import Tissue
from holohisto.infer.clock import ON_DEVICE, Clock, bottleneck
from holohisto.infer.job import DEFAULT_SPEED, Job, Speed
from holohisto.infer.pipeline import ReadInputs, finished_bands
from holohisto.infer.predictor import Predictor, TileInputs
from holohisto.infer.probability_map import DIVISOR, Spool
from holohisto.infer.resume import FinishedBands
from holohisto.infer.seams import disagreement
from holohisto.runtime.journal import Journal
from holohisto.runtime.prefetch import ahead
from holohisto.segmenter.card import ModelCard
from holohisto.slide.record import SlideRecord
from holohisto.tiles.grid import Tile, holds_foreground
from holohisto.tokens.token_map import TokenMap, tile_tokens

logger = logging.getLogger(__name__)
BANDS_AHEAD = 1
"""Finished bands that wait for the writer."""
SMALLEST_SNAP = 16
"""Tile origins are multiples of it for segmenters without tokens."""


class Segmentation:
    """One slide being segmented: read `labels` to their end, then `probability`, then `facts`."""

    def __init__(
        self,
        predictor: Predictor,
        job: Job,
        speed: Speed = DEFAULT_SPEED,
        folder: Path | None = None,
    ) -> None:
        """Prepare, and start the clock.

        Args:
            predictor: The segmenter.
            job: What is segmented.
            speed: Settings that alter the time and the memory, but no result.
            folder: Where the probability map is kept meanwhile; None: in memory.
        """
        self.job = job
        self._predictor, self._speed = predictor, speed
        self._spool = Spool(job.size, folder)
        self._seam = np.zeros((job.classes, 2), np.int64)
        self._clock, self._start = Clock(predictor.on_gpu), time.perf_counter()
        self._resumed = 0

    def labels(self, read: ReadInputs, journal: Journal | None = None) -> Iterator[np.ndarray]:
        """Yield the labels from the top in bands, (rows, width) uint8, bit i for class i.

        Args:
            read: Reads the inputs of a tile; called by several threads at once.
            journal: Keeps finished bands; those of a killed run are not computed again.
        """
        finished = FinishedBands(journal)
        self._resumed = finished.count
        if finished.count:
            logger.info("resuming after band %d of %d", finished.count, len(self.job.ends))
        computed = finished_bands(
            self._predictor, read, self.job, self._speed, self._clock, finished.count
        )
        for band in finished.followed_by(ahead(computed, BANDS_AHEAD), self._clock):
            self._spool.add(band.probability)
            self._seam += band.seam
            with self._clock("write"):  # the writer is at work until it asks for more
                yield band.labels

    @property
    def probability_size(self) -> tuple[int, int]:
        """Width and height of the probability map."""
        return self._spool.size

    def probability(self) -> Iterator[np.ndarray]:
        """Yield the probability map from the top in bands, (rows / 4, width / 4) uint8.

        A value is the mean over 4 x 4 pixels of the largest probability of any class, 255 for 1.
        """
        yield from self._spool.bands()

    def writing(self) -> AbstractContextManager[None]:
        """Return a context whose time counts as writing, for writing the probability map."""
        return self._clock("write")

    def facts(self, classes: Sequence[str]) -> dict[str, Any]:
        """Return counts of tiles and bands, times, the bottleneck, and the seams of each class."""
        wall, speed = time.perf_counter() - self._start, self._speed
        seconds = self._clock.seconds()
        device = sum(seconds[stage] for stage in ON_DEVICE) / speed.parallel_batches
        return {
            "tiles": sum(map(self.job.wanted, chain(*self.job.rows))),
            "all_tiles": sum(map(len, self.job.rows)),
            "bands": len(self.job.ends),
            "resumed_bands": self._resumed,
            "seconds": round(wall, 3),
            "stages": seconds,
            "readers": speed.readers,
            "busy": round(min(1.0, device / wall), 4),
            "bottleneck": bottleneck(seconds, speed.readers, speed.parallel_batches),
            "seam": dict(zip(classes, map(disagreement, self._seam.tolist()), strict=True)),
        }


def job_for(
    card: ModelCard,
    size: tuple[int, int],
    foreground: Foreground,
    options: InferOptions,
) -> Job:
    """Return the job of a segmenter on a slide.

    Args:
        card: ModelCard of the segmenter.
        size: Working width and height of the slide.
        foreground: The slide's tissue; tiles without any are skipped.
        options: The section `infer`.
    """
    return Job(
        size=size,
        tile=getattr(card.options, "tile", None) or options.tile,
        overlap=options.overlap,
        wanted=lambda tile: holds_foreground(foreground.mask, foreground.cell, tile),
        snap=math.lcm(card.downscale if card.tokenizer else SMALLEST_SNAP, DIVISOR),
        classes=len(card.classes),
        threshold=options.threshold,
    )


def input_reader(
    predictor: Predictor, tissue: Tissue, token_map: TokenMap | None = None
) -> ReadInputs:
    """Return the function that reads from a slide what the segmenter needs of a tile.

    Args:
        predictor: The segmenter.
        tissue: The slide's pixels.
        token_map: Its tokens, if the segmenter reads them from a map.
    """

    def read(tile: Tile) -> TileInputs:
        return TileInputs(
            tile_tokens(token_map, tile) if token_map else None,
            tissue.read(tile) if predictor.reads_pixels else None,
        )

    return read


def labels_header(record: SlideRecord, card: ModelCard, digest: str, job: Job) -> dict[str, Any]:
    """Return the header of the labels: the slide, the segmenter and the tiles.

    Args:
        record: The slide.
        card: ModelCard of the segmenter.
        digest: Digest of its weights.
        job: What is segmented.
    """
    return {
        "slide": record.slide,
        "size": list(record.size),
        "mpp": record.mpp,
        "scale": record.scale.texts,
        "classes": list(card.classes),
        "model": card.name,
        "pretrained": card.summary.get("pretrained", ""),
        "segmenter": digest,
        "threshold": job.threshold,
        "tile": list(job.fitted),
        "overlap": job.overlap,
        "snap": job.snap,
    }
