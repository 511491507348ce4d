"""Resuming an interrupted slide after its last finished band."""

import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from holohisto.config.sections import InferOptions
from holohisto.infer.clock import Clock
from holohisto.infer.pipeline import Band
from holohisto.runtime.identity import hash_of_inputs
from holohisto.runtime.journal import Journal
from holohisto.slide.record import SlideRecord
from holohisto.tokens.token_map import TokenMap


class FinishedBands:
    """The bands that an earlier, killed run left in its journal, from the first on.

    Attributes:
        count: How many there are.
    """

    def __init__(self, journal: Journal | None) -> None:
        """Count the bands in `journal`; without one there are none, and none are kept."""
        self._journal = journal
        self.count = sum(1 for _ in journal.entries()) if journal else 0

    def followed_by(self, bands: Iterable[Band], clock: Clock) -> Iterator[Band]:
        """Yield the finished bands, and then `bands`, each once it is in the journal."""
        if self._journal is None:
            yield from bands
            return
        for _, payload in self._journal.entries():
            yield Band(**load(zlib.decompress(payload)))
        for number, band in enumerate(bands, start=self.count):
            with clock("write"):
                arrays = {"labels": band.labels, "probability": band.probability, "seam": band.seam}
                self._journal.add(number, zlib.compress(save(arrays), 1))
            yield band


def identity_of(
    header: dict[str, Any],
    record: SlideRecord,
    options: InferOptions,
    mask: np.ndarray,
    token_map: TokenMap | None,
    device: str,
) -> str:
    """Hash of every input that affects the labels; only a run with the same one is resumed.

    Args:
        header: Header of the labels.
        record: The slide.
        options: The section `infer`.
        mask: Foreground, (rows, columns) bool.
        token_map: The slide's tokens, if the segmenter reads a token map.
        device: Name of the device.
    """
    facts = [header, record.text(), options.model_dump_json(), device]
    tokens = [token_map.tokens[0]] if token_map is not None else []
    return hash_of_inputs(facts, mask, *tokens)
