"""Probabilities of tiles by OpenVINO: the engine on a CPU."""

import contextlib
import platform
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from holohisto.config.fields import Precision
from holohisto.infer.arrays import Arrays, NumpyArrays
from holohisto.infer.predictor import TileInputs, stack
from holohisto.runtime.processor import CompiledNetwork, read_network
from holohisto.segmenter.converted import ConvertedSegmenter

if TYPE_CHECKING:
    from holohisto.segmenter.inputs import TileEncoder


class OpenvinoPredictor:
    """See Predictor.

    Each tile is computed by itself, whatever the batch, and by one thread: several would share the
    sums over a tile, as in instance norms, and round differently for each number of them.
    """

    def __init__(
        self,
        converted: ConvertedSegmenter,
        encoder: "TileEncoder | None" = None,
        precision: Precision = "fp32",
        parallel: int = 1,
    ) -> None:
        """Take the network.

        Args:
            converted: The segmenter.
            encoder: Encodes its tiles, in mode `online` only; by torch.
            precision: Precision of the arithmetic.
            parallel: Tiles that are computed side by side.
        """
        self.name, self.engine = f"{platform.machine()} CPU", f"OpenVINO, {precision}"
        self.arrays: Arrays = NumpyArrays()
        self.on_gpu, self.parallel = False, parallel
        self.tokenises = encoder is not None and converted.needs_tokens
        self.reads_tokens = converted.needs_tokens and not self.tokenises
        self.reads_pixels = converted.needs_pixels or self.tokenises
        self._converted, self._encoder = converted, encoder
        self._network = read_network(converted.xml, converted.weights)
        self._settings: dict[str, Any] = {
            "precision": precision,
            "threads": parallel,
            "parallel": parallel,
        }
        self._compiled: dict[tuple[tuple[int, ...], ...], CompiledNetwork] = {}
        self._lock = threading.Lock()

    def stacked(self, tiles: list[TileInputs]) -> TileInputs:
        """See Predictor."""
        return stack(tiles)

    def prepared(self, batch: TileInputs) -> TileInputs:
        """See Predictor."""
        if not self.tokenises:
            return batch
        assert self._encoder is not None
        return TileInputs(self._encoder.encode_arrays(batch.rgb), batch.rgb)

    def __call__(self, batch: TileInputs, size: tuple[int, int]) -> list[np.ndarray]:
        """See Predictor."""
        rgb = batch.rgb if self._converted.needs_pixels else None
        if rgb is not None:
            rgb = self._converted.sides.widened(rgb)
        inputs = {"tokens": batch.tokens, "rgb": rgb}
        read = {"tokens": self._converted.needs_tokens, "rgb": self._converted.needs_pixels}
        return [
            self._one({name: array[n : n + 1] for name, array in inputs.items() if read[name]})[
                :, : size[0], : size[1]
            ]
            for n in range(len(batch.rgb if batch.tokens is None else batch.tokens))
        ]

    def _one(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Return the probabilities of one tile, (classes, height, width)."""
        shapes = tuple(array.shape for array in inputs.values())
        with self._lock:
            if shapes not in self._compiled:
                by_name = {name: array.shape for name, array in inputs.items()}
                self._compiled[shapes] = CompiledNetwork(self._network, by_name, **self._settings)
        return self._compiled[shapes](inputs)[0]

    def in_fp32(self) -> "OpenvinoPredictor | None":
        """See Predictor."""
        if self._settings["precision"] == "fp32":
            return None
        return OpenvinoPredictor(self._converted, self._encoder, "fp32", self.parallel)

    def working(self) -> contextlib.AbstractContextManager[None]:
        """See Predictor; the encoder of mode `online` is of torch."""
        if not self.tokenises:
            return contextlib.nullcontext()
        from holohisto.infer.torch_engine import fixed_threads

        return fixed_threads()
