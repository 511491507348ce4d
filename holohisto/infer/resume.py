"""Finished bands that outlive a kill: what a later try takes up instead of computing it again."""

import logging
import zlib
from collections.abc import Iterable, Iterator

from safetensors.numpy import load, save

from holohisto.infer.clock import Clock
from holohisto.infer.pipeline import Band
from holohisto.runtime.journal import Journal

logger = logging.getLogger(__name__)


class Kept:
    """The bands in a journal, from the first on."""

    def __init__(self, journal: Journal) -> None:
        """Count those that are there."""
        self._journal = journal
        self.count = sum(1 for _ in journal.entries())

    def bands(self) -> Iterator[Band]:
        """Yield them from the top."""
        for _, payload in self._journal.entries():
            yield Band(**load(zlib.decompress(payload)))

    def adding(self, bands: Iterable[Band], clock: Clock) -> Iterator[Band]:
        """Yield what is kept and then `bands`, each once it is on the disk."""
        yield from self.bands()
        for number, band in enumerate(bands, start=self.count):
            with clock("write"):
                parts = {"labels": band.labels, "probability": band.probability, "seam": band.seam}
                self._journal.add(number, zlib.compress(save(parts), 1))
            yield band
