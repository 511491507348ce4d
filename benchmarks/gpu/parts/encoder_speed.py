"""Part 2: tokens per second of the encoder at its default width, beside the peak of the device."""

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu.task import Task
from holohisto.config.training import TokenizerOptions, TokensOptions
from holohisto.runtime.arithmetic import ceil_div
from holohisto.tiles.grid import Tile
from holohisto.tokenizer.norm import Statistics
from holohisto.tokenizer.training import architecture
from holohisto.tokenizer.vqgan import VQGAN
from holohisto.tokens.encode import Encoding, encode
from holohisto.tokens.encoders import LocalEncoder

BACKGROUND = 240
PRODUCTS = 10
"""Timed together, so that launching them counts for little."""


def measure(task: Task) -> None:
    """Time the product of two matrices, then the project's own way from pixels to tokens."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    sizes = task.sizes
    peak = matrix_peak(sizes.matrix, sizes.repeats, device)
    task.put(device=_name(device), matrix=sizes.matrix, peak_tflops=round(peak / 1e12, 3))
    defaults = TokenizerOptions(**({} if not task.dry else task.sizes.tokenizer))
    action = encoder(defaults, sizes.crop, device)
    with FlopCounterMode(display=False) as counter:
        found = action()
    operations = counter.get_total_flops()
    seconds = [_seconds(action, device) for _ in range(sizes.repeats)]
    middle = statistics.median(seconds)
    task.put(
        crop=list(sizes.crop),
        channels=defaults.channels,
        multipliers=list(defaults.multipliers),
        tokens=found.size,
        seconds=[round(one, 5) for one in seconds],
        tokens_per_second=round(found.size / middle, 1),
        pixels_per_second=round(sizes.crop[0] * sizes.crop[1] / middle),
        gflop_per_crop=round(operations / 1e9, 2),
        tflops=round(operations / middle / 1e12, 4),
        share_of_peak=round(operations / middle / peak, 4),
    )


def encoder(
    options: TokenizerOptions, size: tuple[int, int], device: torch.device
) -> Callable[[], np.ndarray]:
    """Return what encodes a crop of a slide that is held in memory, in bf16.

    The weights are random: they alter neither operations nor time.
    """
    torch.manual_seed(0)
    model = VQGAN(architecture(options)).to(device).eval().requires_grad_(False)
    model.use(Statistics.FROZEN)
    model = model.to(memory_format=torch.channels_last)  # pyright: ignore
    own = LocalEncoder(model, "bf16")
    f = model.architecture.downscale
    rgb = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    needed = np.ones((ceil_div(size[1], f), ceil_div(size[0], f)), bool)

    def read(tile: Tile) -> np.ndarray:
        out = np.full((tile.height, tile.width, 3), BACKGROUND, np.uint8)
        y, x = max(tile.y, 0), max(tile.x, 0)
        part = rgb[y : max(y, tile.y + tile.height), x : max(x, tile.x + tile.width)]
        out[y - tile.y :, x - tile.x :][: part.shape[0], : part.shape[1]] = part
        return out

    block = TokensOptions().block
    return lambda: encode(read, Encoding(size, needed, 0), own, block).tokens


def matrix_peak(side: int, repeats: int, device: torch.device) -> float:
    """Floating-point operations per second of a product of two bf16 matrices of random numbers."""
    a, b = (torch.randn(side, side, device=device).bfloat16() for _ in range(2))

    def products() -> None:
        for _ in range(PRODUCTS):
            a @ b

    seconds = [_seconds(products, device) for _ in range(repeats + 1)]
    return PRODUCTS * 2 * side**3 / statistics.median(seconds[1:])


def _seconds(action: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    action()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
