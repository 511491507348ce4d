"""Probabilities of tiles by torch: the engine on GPUs, and the reference on a CPU."""

import contextlib
import platform
from collections.abc import Iterator

import torch
from torch import Tensor

from holohisto.config.fields import Precision
from holohisto.device import device_of
from holohisto.infer.arrays import Arrays, TorchArrays
from holohisto.infer.predictor import TileInputs, stack
from holohisto.segmenter.file import Segmenter
from holohisto.segmenter.inputs import Inputs, TileEncoder

THREADS_A_TILE = 4
"""Threads that share the arithmetic of a tile on a CPU, however many cores there are: another
number would round differently."""


class TorchPredictor:
    """See Predictor."""

    def __init__(
        self,
        model: Segmenter,
        encoder: TileEncoder | None = None,
        precision: Precision | None = None,
        parallel: int = 1,
    ) -> None:
        """Take the networks.

        Args:
            model: The segmenter, on its device; it is brought to channels-last memory.
            encoder: Encodes its tiles, in mode `online` only.
            precision: Precision of the arithmetic; None: bf16 on a GPU, fp32 on a CPU.
            parallel: Batches that are computed side by side.
        """
        self.device = device_of(model)
        self.model = model.to(memory_format=torch.channels_last)  # pyright: ignore
        self.on_gpu = self.device.type == "cuda"
        self.precision: Precision = precision or ("bf16" if self.on_gpu else "fp32")
        self.name = device_name(self.device)
        self.engine = f"torch, {self.precision}"
        self.arrays: Arrays = TorchArrays(self.device)
        self.parallel = parallel
        self._inputs = Inputs(model, encoder)
        self.reads_tokens, self.reads_pixels = self._inputs.tokens, self._inputs.pixels
        self.tokenises = self._inputs.encoder is not None

    def stacked(self, tiles: list[TileInputs]) -> TileInputs:
        """See Predictor; for a GPU in page-locked memory, which torch reuses."""
        arrays = (None if array is None else torch.from_numpy(array) for array in stack(tiles))
        if self.on_gpu:
            arrays = (None if array is None else array.pin_memory() for array in arrays)
        return TileInputs(*arrays)

    def prepared(self, batch: TileInputs) -> TileInputs:
        """See Predictor."""
        rgb = None if batch.rgb is None else batch.rgb.permute(0, 3, 1, 2)
        return TileInputs(*self._inputs(batch.tokens, rgb, self.device))

    @torch.no_grad()
    def __call__(self, batch: TileInputs, size: tuple[int, int]) -> list[Tensor]:
        """See Predictor."""
        bf16 = self.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            logits = self.model(batch.tokens, batch.rgb, size)
        return list(logits.float().sigmoid())

    def in_fp32(self) -> None:
        """See Predictor; on a GPU, bf16 is the usual precision."""

    def working(self) -> contextlib.AbstractContextManager[None]:
        """See Predictor."""
        return fixed_threads()


@contextlib.contextmanager
def fixed_threads() -> Iterator[None]:
    """Compute each tile with THREADS_A_TILE threads inside, the same on every machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS_A_TILE)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def device_name(device: torch.device) -> str:
    """Return the name of the GPU, or of the CPU's architecture."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU"
