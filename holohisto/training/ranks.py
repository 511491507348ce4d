"""Sums over all ranks of a training, with gradients: one rank or many, the same numbers."""

import torch
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_reduce


def over_ranks(sums: Tensor) -> Tensor:
    """Add up a tensor over the ranks; as it is where there is one.

    Gradients are added up too, so that with DDP's mean over ranks every rank ends with those of
    the whole batch.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return sums
    return all_reduce(sums)


class SynchronisedNorm(nn.BatchNorm2d):
    """BatchNorm over the tiles of all ranks, on any device (torch's own needs a GPU)."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, H, W)."""
        if not self.training:
            return super().forward(x)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        with torch.autocast(x.device.type, enabled=False):
            values = x.float()
            axes, channels = (0, 2, 3), x.shape[1]
            count = values.new_tensor([values.numel() / channels])
            sums = over_ranks(torch.cat([values.sum(axes), count]))
            n = sums[channels].detach()
            mean = sums[:channels] / n
            centred = values - mean[:, None, None]
            variance = over_ranks(centred.square().sum(axes)) / n
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(variance * n / (n - 1), self.momentum)
            scale = self.weight * torch.rsqrt(variance + self.eps)
            out = torch.addcmul(self.bias[:, None, None], centred, scale[:, None, None])
        return out.to(x.dtype)


def synchronise(model: nn.Module) -> None:
    """Let every BatchNorm of a model see the tiles of all ranks."""
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SynchronisedNorm
