"""Group normalisation by the statistics of one input, of a batch, or of a slide."""

from enum import Enum

import torch
from torch import Tensor, nn

from holohisto.tokenizer.architecture import groups_of


class Statistics(Enum):
    """Whose mean and variance a layer normalises by."""

    NATIVE = "native"
    """Each input's own, as published: they cancel the gain and offset of a picture, but depend on
    what is encoded together."""
    SHARED = "shared"
    """Those of all inputs of a batch together: tiles of one slide. The layer keeps them."""
    FROZEN = "frozen"
    """The kept ones, so that the layer is an affine map per channel and the encoder is local."""


class FreezableNorm(nn.GroupNorm):
    """GroupNorm whose statistics can be those of a slide.

    The kept statistics belong to a slide, not to the tokenizer, and are in no file.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, channels: int, groups: int | None = None) -> None:
        """Normalise in `groups`, or in those of `groups_of`; eps 1e-6."""
        super().__init__(groups_of(channels, groups), channels, eps=1e-6)
        self.register_buffer("mean", torch.zeros(self.num_groups), persistent=False)
        self.register_buffer("variance", torch.ones(self.num_groups), persistent=False)
        self.statistics = Statistics.NATIVE

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, H, W)."""
        if self.statistics is Statistics.NATIVE:
            return super().forward(x)
        mean, variance = self.mean, self.variance
        if self.statistics is Statistics.SHARED:
            mean, variance = self._moments(x)
        each = self.num_channels // self.num_groups
        scale = self.weight * torch.rsqrt(variance + self.eps).repeat_interleave(each)
        shift = self.bias - mean.repeat_interleave(each) * scale
        scale, shift = scale.to(x.dtype), shift.to(x.dtype)
        return torch.addcmul(shift[:, None, None], x, scale[:, None, None])

    def _moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of each group over all inputs, (groups,) float32, and keep them.

        The variance includes the spread between the inputs' means (Chan, Golub, LeVeque 1979).
        """
        groups = x.float().unflatten(1, (self.num_groups, -1)).flatten(3)  # (B, groups, c, H * W)
        variances, means = torch.var_mean(groups, dim=(2, 3), correction=0)  # each (B, groups)
        mean = means.mean(dim=0)
        variance = variances.mean(dim=0) + (means - mean).square().mean(dim=0)
        self.mean.copy_(mean.detach())
        self.variance.copy_(variance.detach())
        return mean, variance
