"""The plan of a training: tiles per step, learning rate."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from holohisto.config.training import TrainOptions
from holohisto.runtime.arithmetic import ceil_div
from holohisto.segmenter.file import Segmenter
from holohisto.tiles.grid import whole
from holohisto.training.ranks import require_equal_shares
from holohisto.training.sampler import SamplingArea, equal_pixels, fitted

PIXEL_SNAP = 16
"""Tile origins are multiples of this many working pixels for networks that read no tokens."""

VALIDATION_PART = 10
"""A validation reads at most one tile for so many training tiles since the one before."""
LEAST_VALIDATION_TILES = 64
"""Bound on the tiles of a validation where that would be fewer."""


@dataclass(frozen=True)
class StepPlan:
    """How many tiles of which size a step has."""

    fitted_tile: tuple[int, int]
    """Width and height of a tile, not larger than the largest slide; working pixels."""
    tile: tuple[int, int]
    """`fitted_tile` rounded up to multiples of `snap`: the width and height that are read."""
    snap: int
    """Tile origins are multiples of it, working pixels."""
    batch: int
    """Tiles per step over all ranks."""
    share: int
    """Tiles per step and rank."""
    validation_tiles: int
    """Largest number of tiles of a validation."""
    micro_batches: int
    """Forward and backward passes of a rank per step, whose gradients accumulate."""

    @property
    def micro_batch(self) -> int:
        """Tiles of the largest micro-batch."""
        return ceil_div(self.share, self.micro_batches)

    @classmethod
    def of(
        cls, model: Segmenter, areas: Sequence[SamplingArea], options: TrainOptions, ranks: int
    ) -> "StepPlan":
        """Plan a training so that all models see equally many pixels per step.

        Args:
            model: The network; its own tile and micro-batch take precedence over the options'.
            areas: Areas of the training slides, of which the sizes count.
            options: The training options.
            ranks: Processes that share each step.

        Raises:
            HolohistoError: the tiles of a step cannot be shared equally by the ranks.
        """
        snap = model.downscale if model.needs_tokens else PIXEL_SNAP
        usual = fitted(options.tile, areas)
        own = fitted(model.tile or options.tile, areas)
        tile = whole(own, snap)
        usual = whole(usual, snap)
        batch = equal_pixels(options.batch, usual, tile)
        require_equal_shares(batch, ranks)
        share = batch // ranks
        micro_batch = min(model.micro_batch or share, options.micro_batch or share)
        return cls(
            fitted_tile=own,
            tile=tile,
            snap=snap,
            batch=batch,
            share=share,
            validation_tiles=max(
                LEAST_VALIDATION_TILES, options.validate_every * batch // VALIDATION_PART
            ),
            micro_batches=ceil_div(share, micro_batch),
        )


def learning_rate(options: TrainOptions, step: int) -> float:
    """Return the learning rate of a step: linear warm-up, then a cosine down to 1 % of the peak.

    Cosine decay: Loshchilov and Hutter 2017, SGDR, arXiv 1608.03983, without restarts.
    """
    steps = options.steps
    warmup = max(1, round(options.warmup * steps))
    if step < warmup:
        return options.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return options.learning_rate * (0.505 + 0.495 * math.cos(math.pi * done))
