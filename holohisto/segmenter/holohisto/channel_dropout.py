"""Dropout of whole channels that is the same however samples are batched."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn


class ChannelDropout(nn.Module):
    """Leaves out channels of each sample at random while training (arXiv 1411.4280).

    Which ones follows from the sample's seed alone, not from a random state of the process: so a
    training that is taken up again, or shared by several ranks, is the same training.
    """

    def __init__(self) -> None:
        """Leave out nothing until `leave_out` says so."""
        super().__init__()
        self.share = 0.0
        self.draws: list[np.random.Generator] = []
        """One a sample; every use of the layer in a forward pass draws further from it."""

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape (B, C, H, W); what is left is scaled up, so that the mean stays."""
        if not self.training or self.share == 0:
            return x
        assert len(self.draws) == len(x)
        kept = np.stack([draw.random(x.shape[1]) >= self.share for draw in self.draws])
        scale = torch.from_numpy(kept).to(x.device, x.dtype) / (1 - self.share)
        return x * scale[:, :, None, None]


def leave_out(model: nn.Module, share: float, seeds: Sequence[int]) -> None:
    """Tell a model's layers what to leave out in its next forward pass.

    Args:
        model: Any; one without such layers stays as it is.
        share: Of the channels, 0 up to but not 1.
        seeds: One a sample of the batch.
    """
    draws = [np.random.default_rng(seed) for seed in seeds]
    for layer in model.modules():
        if isinstance(layer, ChannelDropout):
            layer.share, layer.draws = share, draws
