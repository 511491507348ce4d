"""Probabilities of tiles, and the device that they are computed on."""

import contextlib
import platform
from collections.abc import Iterator

import torch
from torch import Tensor

from holohisto.device import device_of
from holohisto.infer.job import Speed
from holohisto.segmenter.file import Segmenter
from holohisto.segmenter.inputs import Inputs, TileEncoder

THREADS_A_TILE = 4
"""Threads that share the arithmetic of a tile on a CPU, however many cores there are: another
number would round differently."""


class Predictor:
    """A segmenter, and what encodes its tiles in mode `online`.

    Attributes:
        device: The device of the segmenter, where everything is computed.
        inputs: Which of tokens and pixels are to be read of a tile.
    """

    def __init__(self, model: Segmenter, encoder: TileEncoder | None = None) -> None:
        """Take the networks.

        Args:
            model: The segmenter, on its device; it is brought to channels-last memory.
            encoder: Encodes its tiles, in mode `online` only.
        """
        self.device = device_of(model)
        self.model = model.to(memory_format=torch.channels_last)  # pyright: ignore
        self.inputs = Inputs(model, encoder)

    @torch.no_grad()
    def __call__(self, tokens: Tensor | None, rgb: Tensor | None, size: tuple[int, int]) -> Tensor:
        """Return the probabilities of tiles, (B, classes, height, width) float32.

        Args:
            tokens: (B, h, w) integers on the device, if the segmenter reads them.
            rgb: (B, 3, height, width) uint8 on the device, if it reads them.
            size: (height, width) of a tile.
        """
        kind = self.device.type
        with torch.autocast(kind, torch.bfloat16, enabled=kind == "cuda"):
            logits = self.model(tokens, rgb, size)
        return logits.float().sigmoid()


@contextlib.contextmanager
def fixed_threads() -> Iterator[None]:
    """Compute each tile with THREADS_A_TILE threads inside, the same on every machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS_A_TILE)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def speed_on(device: torch.device, batch: int, threads: int, queue: int) -> Speed:
    """Return the speed that a device and a number of threads give.

    Args:
        device: The device; on a CPU, THREADS_A_TILE threads compute a batch, and the others
            further batches side by side.
        batch: Tiles computed at once.
        threads: Threads there are for reading and computing.
        queue: Batches read ahead.
    """
    parallel = 1 if device.type == "cuda" else max(1, threads // THREADS_A_TILE)
    return Speed(max(1, batch), max(1, threads), max(1, queue), parallel)


def device_name(device: torch.device) -> str:
    """Return the name of the GPU, or of the CPU's architecture."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU"
