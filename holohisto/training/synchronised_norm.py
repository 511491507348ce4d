"""Batch norm over the tiles of all ranks, on any device (torch's SyncBatchNorm needs a GPU)."""

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional

from holohisto.device import at_least_fp32
from holohisto.training.ranks import several_ranks


class SynchronisedNorm(nn.BatchNorm2d):
    """Batch norm over the tiles of all ranks; it keeps what batch norm keeps, its input."""

    @classmethod
    def replacing(cls, norm: nn.BatchNorm2d) -> "SynchronisedNorm":
        """Return a synchronised norm that shares the parameters and statistics of `norm`."""
        made = cls(norm.num_features, norm.eps, norm.momentum)
        made.weight, made.bias = norm.weight, norm.bias
        made.running_mean, made.running_var = norm.running_mean, norm.running_var
        made.num_batches_tracked = norm.num_batches_tracked
        return made.train(norm.training)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, H, W)."""
        if not self.training:
            return super().forward(x)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        with torch.no_grad():
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
            count, mean, variance = _moments(x)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        out = _Normalised.apply(x, self.weight, self.bias, mean, variance, count, self.eps)
        assert isinstance(out, Tensor)
        return out


def synchronise_norms(model: nn.Module) -> None:
    """Replace every BatchNorm2d of a model, in place, by one over the tiles of all ranks."""
    replaced: dict[nn.Module, SynchronisedNorm] = {}
    for parent in list(model.modules()):
        for name, norm in list(parent.named_children()):
            if type(norm) is nn.BatchNorm2d:
                if norm not in replaced:
                    replaced[norm] = SynchronisedNorm.replacing(norm)
                setattr(parent, name, replaced[norm])


class _Normalised(Function):
    """Normalisation by the moments of all ranks' pixels, with the gradients through these."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        variance: Tensor,
        count: Tensor,
        eps: float,
    ) -> Tensor:
        """Normalise (B, C, H, W) by `mean` and `variance`, (C,), of `count` pixels, (1,)."""
        ctx.save_for_backward(x, weight, mean, variance, count)
        ctx.eps = eps
        return functional.batch_norm(x, mean, variance, weight, bias, eps=eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients; those of weight and bias are of this rank's pixels.

        The gradient through a norm with constant mean and variance, which is one fused kernel,
        less what comes through mean and variance, which depend on the pixels of all ranks.
        """
        x, weight, mean, variance, count = ctx.saved_tensors
        eps = ctx.eps
        of_x, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            grads[0], x, weight, mean, variance, None, None, False, eps, [True, True, True]
        )
        of_all = torch.stack([of_weight, of_bias])
        if several_ranks():
            distributed.all_reduce(of_all)
        slope, level = of_all * (weight * torch.rsqrt(variance + eps) / count)
        of_x -= functional.batch_norm(x, mean, variance, slope, level, eps=eps)
        return of_x, of_weight, of_bias, None, None, None, None


def _moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the number (1,), mean (C,) and variance (C,) of the pixels of all ranks.

    The moments of several ranks are combined without a difference of large sums (Chan et al. 1979).
    """
    values = at_least_fp32(x)
    variance, mean = torch.var_mean(values, (0, 2, 3), correction=0)
    count = mean.new_tensor([values.numel() / len(mean)])
    if not several_ranks():
        return count, mean, variance
    own = torch.cat([count, mean, variance])
    ranks = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
    distributed.all_gather(ranks, own)
    counts, means, variances = torch.stack(ranks).split([1, len(mean), len(mean)], dim=1)
    count = counts.sum(dim=0)
    mean = (counts * means).sum(dim=0) / count
    variance = (counts * (variances + (means - mean).square())).sum(dim=0) / count
    return count, mean, variance
