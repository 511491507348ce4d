"""Dropout of whole channels that is the same however samples are batched."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn


class ChannelDropout(nn.Module):
    """Leaves out channels of each sample at random in training (Tompson et al., arXiv 1411.4280).

    The channels follow from the sample's seed alone, not from the random state of the process, so
    that a resumed training, or one shared by several ranks, is the same training.
    """

    def __init__(self) -> None:
        """Leave out nothing until `leave_out` sets a share."""
        super().__init__()
        self.share = 0.0
        self.draws: list[np.random.Generator] = []
        """One generator per sample; each use of the layer in a forward pass continues it."""

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape (B, C, H, W); the remaining channels are scaled up to keep the mean."""
        if not self.training or self.share == 0:
            return x
        assert len(self.draws) == len(x)
        kept = np.stack([draw.random(x.shape[1]) >= self.share for draw in self.draws])
        scale = torch.from_numpy(kept).to(x.device, x.dtype) / (1 - self.share)
        return x * scale[:, :, None, None]


def leave_out(model: nn.Module, share: float, seeds: Sequence[int]) -> None:
    """Set which channels a model leaves out in its next forward pass.

    Args:
        model: A network; one without `ChannelDropout` is not changed.
        share: Share of the channels that are left out, in [0, 1).
        seeds: One seed per sample of the batch.
    """
    draws = [np.random.default_rng(seed) for seed in seeds]
    for layer in model.modules():
        if isinstance(layer, ChannelDropout):
            layer.share, layer.draws = share, draws
