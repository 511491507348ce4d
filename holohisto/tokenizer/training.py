"""Training a VQGAN on the cohort's own tissue, from nothing, without any download.

L1 reconstruction, an EMA codebook with restart of dead codes (arXiv 1906.00446, appendix A.1) and
a patch-GAN that joins late (arXiv 2012.09841). The encoder's statistics are frozen early, so that
the network trains in the state in which tokens are computed.
"""

import copy
import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from taming.modules.discriminator.model import NLayerDiscriminator, weights_init
from torch import Tensor
from torch.nn import functional

from holohisto.config.training import TokenizerOptions
from holohisto.device import device_of
from holohisto.errors import HolohistoError
from holohisto.runtime.prefetch import prefetch
from holohisto.tokenizer.architecture import Architecture
from holohisto.tokenizer.calibration import calibrate
from holohisto.tokenizer.codebook import Codebook
from holohisto.tokenizer.vqgan import VQGAN

AUTOENCODE_SHARE = 0.15  # of the steps: no quantiser yet, so that the first codes mean something
EMA_DECAY = 0.97
COMMITMENT = 0.25
DEAD_BELOW = 0.05  # expected uses a step under which a code is started anew
ROWS = 60  # of the training table
logger = logging.getLogger(__name__)

TileReader = Callable[[int], np.ndarray]
"""Training tile n: (tile, tile, 3) uint8; a pure function of n."""


@dataclass
class TrainingRow:
    """One line of the tokenizer's training table."""

    step: int
    loss: float
    reconstruction: float
    perplexity: float
    codes_used: int
    psnr: float
    seconds: float


def train_tokenizer(
    read_tile: TileReader, options: TokenizerOptions, seed: int, device: torch.device
) -> Iterator[tuple[VQGAN, TrainingRow]]:
    """Train a VQGAN; yield it, still in training, with a row of the table now and then.

    After the last row the model yielded is whole, frozen and calibrated.
    """
    torch.manual_seed(seed)
    model = VQGAN(architecture(options)).to(device).to(memory_format=_order(device))  # pyright: ignore
    codebook = MovingCodebook(model.quantize)
    optimiser = torch.optim.Adam(model.parameters(), options.learning_rate, betas=(0.9, 0.99))
    critic = Critic(options, device)
    start, quantise_from = time.monotonic(), round(AUTOENCODE_SHARE * options.steps)
    every = max(1, options.steps // ROWS)
    for step, pixels in enumerate(_batches(model, read_tile, options, device)):
        _set_rate(optimiser, options.learning_rate, step, options.steps)
        if step == quantise_from:
            _start_codebook(model, codebook, read_tile, options)
        latents = model.latents(pixels)
        if step < quantise_from:
            tokens, codes, commitment = None, latents, latents.new_zeros(())
        else:
            tokens = model.quantize.assign(latents)
            embedded = functional.embedding(tokens, model.quantize.embedding.weight.detach())
            commitment = functional.mse_loss(latents, embedded)
            codes = latents + (embedded - latents).detach()
        output = model.decode(codes)
        reconstruction = (output - pixels).abs().mean()
        loss = reconstruction + COMMITMENT * commitment
        if critic.joins(step):
            loss = loss + critic.generator_loss(model, reconstruction, output)
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
        if tokens is not None:
            codebook.update(latents.detach(), tokens, restart=step < 0.9 * options.steps)
        if critic.joins(step):
            critic.step(pixels, output.detach())
        if (step + 1) % every == 0 or step + 1 == options.steps:
            yield model, _row(step + 1, loss, reconstruction, output, pixels, codebook, start)


def architecture(options: TokenizerOptions) -> Architecture:
    """Return the architecture that the options describe."""
    return Architecture(
        channels=options.channels,
        multipliers=options.multipliers,
        residual_blocks=options.residual_blocks,
        codebook=options.codebook,
        dimension=options.dimension,
    )


class MovingCodebook:
    """Codes as moving averages of the latents they stand for; unused codes start anew."""

    def __init__(self, codebook: Codebook) -> None:
        """Keep the sums beside the codebook; only training needs them."""
        self.weight = codebook.embedding.weight.requires_grad_(False)
        self.count = torch.ones(len(self.weight), device=self.weight.device)
        self.sum = self.weight.clone()

    def start(self, codes: Tensor) -> None:
        """Set the codes (K, d)."""
        self.weight.copy_(codes)
        self.sum = self.weight.clone()
        self.count.fill_(1.0)

    @torch.no_grad()
    def update(self, latents: Tensor, tokens: Tensor, restart: bool) -> None:
        """Move the codes towards latents (..., d) that chose them by tokens (...)."""
        flat, chosen = latents.reshape(-1, latents.shape[-1]).float(), tokens.reshape(-1)
        uses = torch.bincount(chosen, minlength=len(self.weight)).float()
        total = torch.zeros_like(self.weight).index_add_(0, chosen, flat)
        self.count.mul_(EMA_DECAY).add_(uses, alpha=1 - EMA_DECAY)
        self.sum.mul_(EMA_DECAY).add_(total, alpha=1 - EMA_DECAY)
        alive = self.count[:, None] > 1e-4
        self.weight.copy_(torch.where(alive, self.sum / self.count[:, None], self.weight))
        dead = (self.count < DEAD_BELOW).nonzero().flatten()
        if restart and len(dead):
            fresh = flat[torch.randint(len(flat), (len(dead),), device=flat.device)]
            self.weight[dead], self.sum[dead], self.count[dead] = fresh, fresh, 1.0

    @property
    def perplexity(self) -> float:
        """How many codes carry the pictures: the entropy of their use, as a number of codes."""
        share = self.count / self.count.sum()
        return math.exp(float(-(share * share.clamp_min(1e-12).log()).sum()))

    @property
    def used(self) -> int:
        """Codes in use of late."""
        return int((self.count >= DEAD_BELOW).sum())


class Critic:
    """The patch-GAN: a discriminator with hinge loss and taming's adaptive weight."""

    def __init__(self, options: TokenizerOptions, device: torch.device) -> None:
        """Nothing is built when it never joins."""
        self.start = round(options.adversarial_start * options.steps)
        self.weight = options.adversarial_weight
        if self.weight == 0 or self.start >= options.steps:
            self.start = options.steps
            return
        self.network = NLayerDiscriminator(ndf=options.channels, n_layers=2).apply(weights_init)
        self.network.to(device).to(memory_format=_order(device))  # pyright: ignore
        self.optimiser = torch.optim.Adam(
            self.network.parameters(), options.learning_rate, betas=(0.5, 0.9)
        )

    def joins(self, step: int) -> bool:
        """Whether it takes part in a step."""
        return step >= self.start

    def generator_loss(self, model: VQGAN, reconstruction: Tensor, output: Tensor) -> Tensor:
        """Return the weighted loss of being recognised (a scalar)."""
        recognised = -self.network(output).mean()
        last: Any = model.decoder.conv_out
        by_pixels, by_critic = (
            torch.autograd.grad(loss, last.weight, retain_graph=True)[0].norm()
            for loss in (reconstruction, recognised)
        )
        return self.weight * (by_pixels / (by_critic + 1e-4)).clamp(0, 1e4).detach() * recognised

    def step(self, real: Tensor, fake: Tensor) -> None:
        """Teach the discriminator one batch."""
        loss = functional.relu(1 - self.network(real)).mean()
        loss = 0.5 * (loss + functional.relu(1 + self.network(fake)).mean())
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()


def _batches(
    model: VQGAN, read_tile: TileReader, options: TokenizerOptions, device: torch.device
) -> Iterator[Tensor]:
    """Yield the batch of each step in the network's range, read ahead by one thread."""

    def batch(step: int) -> np.ndarray:
        first = step * options.batch
        return np.stack([read_tile(n) for n in range(first, first + options.batch)])

    for rgb in prefetch(batch, range(options.steps), workers=1):
        tensor = torch.from_numpy(rgb).to(device).permute(0, 3, 1, 2)
        yield model.pixels(tensor).contiguous(memory_format=_order(device))


def _order(device: torch.device) -> torch.memory_format:
    """Order of channels in memory: on CPUs channels-last makes narrow networks slower."""
    return torch.channels_last if device.type == "cuda" else torch.contiguous_format


def _set_rate(optimiser: torch.optim.Optimizer, peak: float, step: int, steps: int) -> None:
    """Rise over the first 2 %, then fall by a cosine to a tenth."""
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


def k_means(points: Tensor, clusters: int, sweeps: int = 10) -> Tensor:
    """Return cluster centres (clusters, d) of points (n, d); empty clusters restart at points."""
    centres = points[torch.randint(len(points), (clusters,), device=points.device)].clone()
    if len(points) >= clusters:
        centres = points[torch.randperm(len(points), device=points.device)[:clusters]].clone()
    book = Codebook(*centres.shape).to(points.device)
    for _ in range(sweeps):
        book.embedding.weight.data.copy_(centres)
        chosen = book.assign(points)
        count = torch.bincount(chosen, minlength=clusters)
        total = torch.zeros_like(centres).index_add_(0, chosen, points)
        centres = total / count.clamp_min(1)[:, None]
        empty = (count == 0).nonzero().flatten()
        centres[empty] = points[torch.randint(len(points), (len(empty),), device=points.device)]
    return centres


def _row(
    step: int,
    loss: Tensor,
    reconstruction: Tensor,
    output: Tensor,
    pixels: Tensor,
    codebook: MovingCodebook,
    start: float,
) -> TrainingRow:
    error = float(functional.mse_loss(output.detach(), pixels))
    return TrainingRow(
        step=step,
        loss=float(loss.detach()),
        reconstruction=float(reconstruction.detach()),
        perplexity=codebook.perplexity,
        codes_used=codebook.used,
        psnr=10 * math.log10(4 / max(error, 1e-12)),
        seconds=time.monotonic() - start,
    )


@torch.no_grad()
def agreement(model: VQGAN, tiles: list[np.ndarray]) -> float:
    """Return the share of tokens that frozen and native normalisation have in common."""
    device = device_of(model)
    native = copy.deepcopy(model)
    native.freeze(False)
    same = total = 0
    for tile in tiles:
        rgb = torch.from_numpy(tile).permute(2, 0, 1)[None].to(device)
        equal = model.tokens(rgb) == native.tokens(rgb)
        same, total = same + int(equal.sum()), total + equal.numel()
    return same / total
