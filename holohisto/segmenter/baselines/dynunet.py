"""nnU-Net's network (MONAI's DynUNet) with deep supervision (Isensee et al. 2021)."""

from typing import Any

import torch
from torch import Tensor, nn

from holohisto.segmenter.holohisto.decoder import resize


def head_weights(levels: int) -> tuple[float, ...]:
    """Weights of the losses at full, half, quarter ... resolution; their sum is 1.

    Each is half of the one before, and the coarsest level of the decoder has none, as in nnU-Net.

    Args:
        levels: Levels of the network, the bottleneck included.
    """
    weights = [0.5**level for level in range(max(1, levels - 2))]
    return tuple(weight / sum(weights) for weight in weights)


class NnunetNetwork(nn.Module):
    """From (B, 3, H, W) to logits; in training also those of the decoder's coarser levels."""

    def __init__(self, channels: tuple[int, ...], classes: int) -> None:
        """`channels` of each level; every level after the first halves the resolution."""
        from monai.networks.nets.dynunet import DynUNet

        super().__init__()
        levels = len(channels)
        strides = (1,) + (2,) * (levels - 1)
        whole_network: Any = DynUNet(
            spatial_dims=2,
            in_channels=3,
            out_channels=classes,
            kernel_size=(3,) * levels,
            strides=strides,
            upsample_kernel_size=strides[1:],
            filters=channels,
        )
        # The DynUNet itself holds every block twice, under two names, which averages would count
        # twice.
        self.skip_layers, self.output_block = whole_network.skip_layers, whole_network.output_block
        coarser = len(head_weights(levels)) - 1
        self.heads = nn.ModuleList(nn.Conv2d(width, classes, 1) for width in channels[1:][:coarser])

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, classes, H, W); in training (B, heads * classes, H, W).

        The first `classes` channels are those of full resolution; the others, from fine to coarse,
        are enlarged.
        """
        coarse: dict[int, Tensor] = {}
        logits = self.output_block(self._level(self.skip_layers, pixels, 0, coarse))
        enlarged = [resize(coarse[level], pixels.shape[2:]) for level in sorted(coarse)]
        return torch.cat([logits, *enlarged], dim=1) if enlarged else logits

    def _level(self, layer: Any, x: Tensor, level: int, coarse: dict[int, Tensor]) -> Tensor:
        """Return the decoder's features of a level; logits of coarser ones go to `coarse`."""
        if not hasattr(layer, "next_layer"):
            return layer(x)  # the bottleneck
        down = layer.downsample(x)
        up = layer.upsample(self._level(layer.next_layer, down, level + 1, coarse), down)
        if self.training and 1 <= level <= len(self.heads):
            coarse[level] = self.heads[level - 1](up)
        return up
