"""Group normalisation whose statistics can be frozen, and their running moments."""

import math

import torch
from torch import Tensor, nn


class FreezableNorm(nn.GroupNorm):
    """GroupNorm whose statistics can be frozen, so that it becomes an affine map per channel.

    States: `native` (statistics of the input, as published) and frozen (`mean`, `variance`,
    each (groups,), fixed). Only when frozen is the encoder strictly local, and tokens are
    independent of the tiling.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, channels: int, groups: int | None = None) -> None:
        """32 groups from 128 channels, as published; below, 4 channels per group; eps 1e-6."""
        if groups is None:
            groups = math.gcd(channels, 32) if channels >= 128 else channels // 4
        super().__init__(groups, channels, eps=1e-6)
        self.register_buffer("mean", torch.zeros(self.num_groups))
        self.register_buffer("variance", torch.ones(self.num_groups))
        self.frozen = False
        self.moments: RunningMoments | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, H, W)."""
        if self.moments is not None:
            self.moments.add(x, self.num_groups)
        if not self.frozen:
            return super().forward(x)
        each = self.num_channels // self.num_groups
        scale = self.weight * torch.rsqrt(self.variance + self.eps).repeat_interleave(each)
        shift = self.bias - self.mean.repeat_interleave(each) * scale
        scale, shift = scale.to(x.dtype), shift.to(x.dtype)
        return torch.addcmul(shift[:, None, None], x, scale[:, None, None])


class RunningMoments:
    """Running mean and variance per group in float64, merged by Chan's formula.

    Chan, Golub, LeVeque 1979: the variance of a union includes the spread between the means.
    """

    def __init__(self) -> None:
        self.count = 0.0
        self.mean: Tensor | float = 0.0
        self.squares: Tensor | float = 0.0

    def add(self, x: Tensor, groups: int) -> None:
        """Merge the statistics of (B, C, H, W)."""
        values = x.detach().reshape(x.shape[0], groups, -1).double()
        count = values.shape[0] * values.shape[2]
        mean = values.mean(dim=(0, 2))
        squares = (values - mean[:, None]).square().sum(dim=(0, 2))
        delta = mean - self.mean
        total = self.count + count
        self.squares = self.squares + squares + delta.square() * (self.count * count / total)
        self.mean = self.mean + delta * (count / total)
        self.count = total

    @property
    def variance(self) -> Tensor:
        """Population variance per group, (groups,) float64."""
        return torch.as_tensor(self.squares / self.count)
