"""Training a VQGAN from scratch on the cohort's own tissue.

Its codes are to describe structure, not stain: the encoder sees tiles in another stain and the
decoder gives back the slide's own (as a denoising autoencoder, Vincent et al. 2008). Codes are
those of finite scalar quantisation (arXiv 2309.15505), a patch-GAN joins late (arXiv 2012.09841),
and where annotations are at hand a small head has to find them in the codes. The tiles of a step
are of a few slides and stains. Those of one slide in one stain are normalised by their common
statistics, the state in which a slide's tokens are computed.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from holohisto.config.training import TokenizerOptions
from holohisto.device import memory_format
from holohisto.errors import HolohistoError
from holohisto.runtime.prefetch import prefetch
from holohisto.tokenizer.architecture import Architecture
from holohisto.tokenizer.codebook import ScalarCodebook
from holohisto.tokenizer.critic import Critic
from holohisto.tokenizer.losses import (
    AnnotationHead,
    correlation_loss,
    effective_rank,
    structure_loss,
)
from holohisto.tokenizer.norm import Statistics
from holohisto.tokenizer.vqgan import VQGAN

CORRELATION = 1.0
"""Weight of the correlation loss."""
ROWS = 60
"""Rows of the training table, about."""


class TissueBatch(NamedTuple):
    """Tiles of one slide in one stain."""

    seen: np.ndarray
    """(B, H, W, 3) uint8, in another stain and blurred: the encoder's input."""
    own: np.ndarray
    """(B, H, W, 3) uint8, in the slide's own stain: what the decoder is to give back."""
    annotated: np.ndarray
    """(B, C, H, W) bool."""
    known: np.ndarray
    """(C,) bool, classes that are annotated on the slide."""


BatchReader = Callable[[int], list[TissueBatch]]
"""The tiles of training step n, one batch for each stain; a pure function of n."""


@dataclass
class TrainingRow:
    """One row of the tokenizer's training table; values are those of one step."""

    step: int
    loss: float
    reconstruction: float
    """Mean absolute error of pixels and gradients, of pixels in -1..1."""
    annotation: float
    """Loss of the annotation head; NaN without."""
    codes_used: int
    perplexity: float
    """exp of the entropy of the codes' use."""
    effective_rank: float
    """Directions in which the codes vary, from 1 to their length."""
    kept: float
    """Share of the tokens that are the same in the slide's own stain."""
    psnr: float
    """dB."""
    seconds: float
    """Since the start of training."""


class Pass(NamedTuple):
    """The tiles of a step through the network."""

    codes: Tensor
    """(B, h, w, d)."""
    tokens: Tensor
    """(B, h, w) int64."""
    own: Tensor
    """(S, 3, H, W), one tile of each stain in the slide's own: what the decoder is to give back."""
    output: Tensor
    """The decoder's, of the same shape."""
    reconstruction: Tensor
    """Scalar."""
    correlation: Tensor
    """Scalar: mean squared correlation of the latents' dimensions."""

    @property
    def loss(self) -> Tensor:
        """The self-supervised loss, a scalar."""
        return self.reconstruction + CORRELATION * self.correlation


def train_tokenizer(
    read_batch: BatchReader, options: TokenizerOptions, seed: int, device: torch.device
) -> Iterator[tuple[VQGAN, TrainingRow]]:
    """Train a VQGAN; yield it, still in training, with about ROWS rows of the table.

    Args:
        read_batch: Gives the training tiles; called from another thread.
        options: Architecture and schedule; `checkpoint` is ignored.
        seed: Seed of the weights.
        device: Device to train on.

    Raises:
        HolohistoError: the loss is not finite.
    """
    torch.manual_seed(seed)
    model = VQGAN(architecture(options)).to(device)
    model = model.to(memory_format=memory_format(device))  # pyright: ignore
    model.use(Statistics.SHARED)
    classes = read_batch(0)[0].annotated.shape[1]
    head = AnnotationHead(len(options.levels), classes).to(device) if classes else None
    trained = nn.ModuleList([model] if head is None else [model, head])
    optimiser = torch.optim.AdamW(
        trained.parameters(), options.learning_rate, betas=(0.9, 0.99), weight_decay=0.01
    )
    critic = Critic(options, device)
    start = time.monotonic()
    every = max(1, options.steps // ROWS)
    for step, batches in enumerate(prefetch(read_batch, range(options.steps), workers=1)):
        _set_rate(optimiser, options.learning_rate, step, options.steps)
        result = _autoencode(model, batches)
        loss = result.loss
        annotation = None
        if head is not None:
            annotation = _annotation_loss(head, result.codes, batches, options)
            loss = loss + options.annotation_weight * annotation
        if critic.joins(step):
            loss = loss + critic.generator_loss(model, result.reconstruction, result.output)
        reported = (step + 1) % every == 0 or step + 1 == options.steps
        kept = _kept(model, result.tokens, batches) if reported else math.nan
        _update(trained, optimiser, loss, step)
        if critic.joins(step):
            critic.step(result.own, result.output.detach())
        if reported:
            yield model, _row(step, loss, annotation, result, kept, start)


def architecture(options: TokenizerOptions) -> Architecture:
    """Return the architecture that the options describe."""
    return Architecture(
        channels=options.channels,
        multipliers=options.multipliers,
        residual_blocks=options.residual_blocks,
        codebook=math.prod(options.levels),
        dimension=len(options.levels),
        levels=options.levels,
    )


def _pixels(model: VQGAN, tiles: np.ndarray) -> Tensor:
    """Bring tiles (B, H, W, 3) uint8 to the device, (B, 3, H, W) in the network's range."""
    device = next(model.parameters()).device
    tensor = torch.from_numpy(tiles).to(device).permute(0, 3, 1, 2)
    return model.pixels(tensor).contiguous(memory_format=memory_format(device))


def _set_rate(optimiser: torch.optim.Optimizer, peak: float, step: int, steps: int) -> None:
    """Rise linearly over the first 5 % of the steps, then fall by a cosine to a hundredth."""
    rise = min(1.0, (step + 1) / max(1, 0.05 * steps))
    for group in optimiser.param_groups:
        group["lr"] = peak * rise * (0.505 + 0.495 * math.cos(math.pi * step / steps))


def _autoencode(model: VQGAN, batches: list[TissueBatch]) -> Pass:
    """Encode all tiles and decode the first of each batch.

    The decoder takes most of a step's time, while annotations are learned from every tile.
    """
    quantiser = model.quantize
    assert isinstance(quantiser, ScalarCodebook)
    latents = torch.cat([model.latents(_pixels(model, batch.seen)) for batch in batches])
    codes, tokens = quantiser.quantise(latents), quantiser.assign(latents)
    firsts = np.cumsum([0, *(len(batch.own) for batch in batches[:-1])])
    own = _pixels(model, np.stack([batch.own[0] for batch in batches]))
    output = model.decode(codes[torch.from_numpy(firsts).to(codes.device)])
    return Pass(
        codes=codes,
        tokens=tokens,
        own=own,
        output=output,
        reconstruction=structure_loss(output, own),
        correlation=correlation_loss(latents),
    )


def _update(trained: nn.Module, optimiser: torch.optim.Optimizer, loss: Tensor, step: int) -> None:
    """Step the optimiser, the gradient clipped to norm 1."""
    if not torch.isfinite(loss):
        raise HolohistoError(
            "tokenizer",
            f"the loss is not finite at step {step}",
            advice="lower tokenizer.learning_rate",
        )
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(trained.parameters(), 1.0)
    optimiser.step()


def _annotation_loss(
    head: AnnotationHead, codes: Tensor, batches: list[TissueBatch], options: TokenizerOptions
) -> Tensor:
    """Return the loss of the annotation head, a scalar."""
    annotated = np.concatenate([batch.annotated for batch in batches])
    known = np.concatenate([np.repeat(b.known[None], len(b.own), axis=0) for b in batches])
    shares = torch.from_numpy(annotated).to(codes.device).float()
    shares = functional.avg_pool2d(shares, 2 ** (len(options.multipliers) - 1))  # (B, C, h, w)
    return head.loss(codes, shares, torch.from_numpy(known).to(codes.device))


@torch.no_grad()
def _kept(model: VQGAN, tokens: Tensor, batches: list[TissueBatch]) -> float:
    """Return the share of tokens (B, h, w) that the tiles have in their own stain, too."""
    latents = torch.cat([model.latents(_pixels(model, batch.own)) for batch in batches])
    return float((model.quantize.assign(latents) == tokens).float().mean())


@torch.no_grad()
def _row(
    step: int,
    loss: Tensor,
    annotation: Tensor | None,
    result: Pass,
    kept: float,
    start: float,
) -> TrainingRow:
    error = float(functional.mse_loss(result.output, result.own))
    uses = torch.bincount(result.tokens.flatten()).float()
    share = uses[uses > 0] / uses.sum()
    return TrainingRow(
        step=step + 1,
        loss=float(loss),
        reconstruction=float(result.reconstruction),
        annotation=math.nan if annotation is None else float(annotation),
        codes_used=len(share),
        perplexity=math.exp(float(-(share * share.log()).sum())),
        effective_rank=effective_rank(result.codes),
        kept=kept,
        psnr=10 * math.log10(4 / max(error, 1e-12)),
        seconds=time.monotonic() - start,
    )
