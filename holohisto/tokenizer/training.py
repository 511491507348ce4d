"""Training a VQGAN from scratch on the cohort's own tissue.

L1 reconstruction, a codebook of moving averages (arXiv 1906.00446) and a patch-GAN that joins late
(arXiv 2012.09841). The encoder's statistics are frozen early, so that the network trains in the
state in which tokens are computed.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from holohisto.config.training import TokenizerOptions
from holohisto.device import memory_format
from holohisto.errors import HolohistoError
from holohisto.runtime.prefetch import prefetch
from holohisto.tokenizer.architecture import Architecture
from holohisto.tokenizer.calibration import calibrate
from holohisto.tokenizer.critic import Critic
from holohisto.tokenizer.moving_codebook import MovingCodebook, k_means
from holohisto.tokenizer.vqgan import VQGAN

AUTOENCODE_SHARE = 0.15
"""Share of the steps before quantisation starts, so that the first codes mean something."""
RESTART_SHARE = 0.9
"""Share of the steps in which dead codes restart."""
COMMITMENT = 0.25
"""Weight of the commitment loss (beta of arXiv 1711.00937)."""
ROWS = 60
"""Rows of the training table, about."""
logger = logging.getLogger(__name__)

TileReader = Callable[[int], np.ndarray]
"""Training tile n: (tile, tile, 3) uint8; a pure function of n."""


@dataclass
class TrainingRow:
    """One row of the tokenizer's training table; values are those of one step."""

    step: int
    loss: float
    reconstruction: float
    """Mean absolute error, of pixels in -1..1."""
    perplexity: float
    codes_used: int
    psnr: float
    """dB."""
    seconds: float
    """Since the start of training."""


class Pass(NamedTuple):
    """One batch through the network."""

    latents: Tensor
    """(B, h, w, d)."""
    tokens: Tensor | None
    """(B, h, w) int64; None before quantisation starts."""
    output: Tensor
    """(B, 3, H, W)."""
    reconstruction: Tensor
    """L1 loss, scalar."""
    commitment: Tensor
    """Commitment loss, scalar."""


def train_tokenizer(
    read_tile: TileReader, options: TokenizerOptions, seed: int, device: torch.device
) -> Iterator[tuple[VQGAN, TrainingRow]]:
    """Train a VQGAN; yield it, still in training, with about ROWS rows of the table.

    After the last row the model yielded is complete, frozen and calibrated.

    Args:
        read_tile: Gives the training tiles; called from another thread.
        options: Architecture and schedule; `checkpoint` is ignored.
        seed: Seed of the weights and the codebook.
        device: Device to train on.

    Raises:
        HolohistoError: the loss is not finite, or the statistics do not settle.
    """
    torch.manual_seed(seed)
    model = VQGAN(architecture(options)).to(device)
    model = model.to(memory_format=memory_format(device))  # pyright: ignore
    codebook = MovingCodebook(model.quantize)
    optimiser = torch.optim.Adam(model.parameters(), options.learning_rate, betas=(0.9, 0.99))
    critic = Critic(options, device)
    start, quantise_from = time.monotonic(), round(AUTOENCODE_SHARE * options.steps)
    every = max(1, options.steps // ROWS)
    for step, pixels in enumerate(_batches(model, read_tile, options, device)):
        _set_rate(optimiser, options.learning_rate, step, options.steps)
        if step == quantise_from:
            _start_codebook(model, codebook, read_tile, options)
        result = _autoencode(model, pixels, quantise=step >= quantise_from)
        loss = result.reconstruction + COMMITMENT * result.commitment
        if critic.joins(step):
            loss = loss + critic.generator_loss(model, result.reconstruction, result.output)
        _update(model, optimiser, loss, step)
        if result.tokens is not None:
            restart = step < RESTART_SHARE * options.steps
            codebook.update(result.latents.detach(), result.tokens, restart)
        if critic.joins(step):
            critic.step(pixels, result.output.detach())
        if (step + 1) % every == 0 or step + 1 == options.steps:
            yield model, _row(step, loss, result, pixels, codebook, start)


def architecture(options: TokenizerOptions) -> Architecture:
    """Return the architecture that the options describe."""
    return Architecture(
        channels=options.channels,
        multipliers=options.multipliers,
        residual_blocks=options.residual_blocks,
        codebook=options.codebook,
        dimension=options.dimension,
    )


def _batches(
    model: VQGAN, read_tile: TileReader, options: TokenizerOptions, device: torch.device
) -> Iterator[Tensor]:
    """Yield the batch of each step in the network's range, read ahead by one thread."""

    def batch(step: int) -> np.ndarray:
        first = step * options.batch
        return np.stack([read_tile(n) for n in range(first, first + options.batch)])

    for rgb in prefetch(batch, range(options.steps), workers=1):
        tensor = torch.from_numpy(rgb).to(device).permute(0, 3, 1, 2)
        yield model.pixels(tensor).contiguous(memory_format=memory_format(device))


def _set_rate(optimiser: torch.optim.Optimizer, peak: float, step: int, steps: int) -> None:
    """Rise linearly over the first 2 % of the steps, then fall by a cosine to a tenth."""
    rise = min(1.0, (step + 1) / max(1, 0.02 * steps))
    for group in optimiser.param_groups:
        group["lr"] = peak * rise * (0.55 + 0.45 * math.cos(math.pi * step / steps))


@torch.no_grad()
def _start_codebook(
    model: VQGAN, codebook: MovingCodebook, read_tile: TileReader, options: TokenizerOptions
) -> None:
    """Freeze the statistics, then place the codes by k-means on latents of many tiles."""
    tiles = [read_tile(n) for n in range(options.calibration_tiles)]
    sweeps = calibrate(model, tiles, options.calibration_tolerance)
    device = codebook.weight.device
    flat = torch.cat(
        [
            model.latents(model.pixels(torch.from_numpy(tile).permute(2, 0, 1)[None].to(device)))
            for tile in tiles
        ]
    ).reshape(-1, options.dimension)
    codebook.start(k_means(flat.float(), options.codebook))
    logger.info("statistics frozen after %d sweeps; codes placed on %d latents", sweeps, len(flat))


def _autoencode(model: VQGAN, pixels: Tensor, quantise: bool) -> Pass:
    """Run a batch (B, 3, H, W); codes pass their gradient straight through to the latents."""
    latents = model.latents(pixels)
    tokens, codes, commitment = None, latents, latents.new_zeros(())
    if quantise:
        tokens = model.quantize.assign(latents)
        embedded = functional.embedding(tokens, model.quantize.codes.detach())
        commitment = functional.mse_loss(latents, embedded)
        codes = latents + (embedded - latents).detach()
    output = model.decode(codes)
    return Pass(latents, tokens, output, (output - pixels).abs().mean(), commitment)


def _update(model: VQGAN, optimiser: torch.optim.Optimizer, loss: Tensor, step: int) -> None:
    """Step the optimiser, the gradient clipped to norm 1."""
    if not torch.isfinite(loss):
        raise HolohistoError(
            "tokenizer",
            f"the loss is not finite at step {step}",
            advice="lower tokenizer.learning_rate",
        )
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()


def _row(
    step: int,
    loss: Tensor,
    result: Pass,
    pixels: Tensor,
    codebook: MovingCodebook,
    start: float,
) -> TrainingRow:
    error = float(functional.mse_loss(result.output.detach(), pixels))
    return TrainingRow(
        step=step + 1,
        loss=float(loss.detach()),
        reconstruction=float(result.reconstruction.detach()),
        perplexity=codebook.perplexity,
        codes_used=codebook.used,
        psnr=10 * math.log10(4 / max(error, 1e-12)),
        seconds=time.monotonic() - start,
    )
