"""Encoder and decoder of taming-transformers, for any width and with statistics that can freeze.

The layers, their order and their names are those of `taming.modules.diffusionmodules.model`
(CompVis/taming-transformers), so that its weights load. taming's own classes are not used:
they normalise in 32 groups, so that no narrower network can be built, and their attention keeps
all pairs of positions in memory.
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import torch
from taming.modules.diffusionmodules.model import Downsample, Upsample, nonlinearity
from torch import Tensor, nn
from torch.nn import functional

from holohisto.tokenizer.architecture import Architecture
from holohisto.tokenizer.attention import ChunkedAttention
from holohisto.tokenizer.norm import FreezableNorm


class ResidualBlock(nn.Module):
    """taming's ResnetBlock; outside training it overwrites activations that are used up."""

    def __init__(self, channels: int, out_channels: int, norm_groups: int | None) -> None:
        """Two normalised 3x3 convolutions, and a 1x1 where the number of channels changes."""
        super().__init__()
        self.norm1 = FreezableNorm(channels, norm_groups)
        self.conv1 = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.norm2 = FreezableNorm(out_channels, norm_groups)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.nin_shortcut = None
        if channels != out_channels:
            self.nin_shortcut = nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H, W)."""
        lean = not torch.is_grad_enabled()
        h = self.conv1(functional.silu(self.norm1(x), inplace=lean))
        h = self.conv2(functional.silu(self.norm2(h), inplace=lean))
        if self.nin_shortcut is not None:
            x = self.nin_shortcut(x)
        return h.add_(x) if lean else h + x


class ResidualLevel(nn.Module):
    """Residual blocks of one resolution, each followed by attention where the level has it.

    `downsample` or `upsample` leads to the next level; the network sets it on all but the last.
    """

    def __init__(
        self, channels: int, out_channels: int, blocks: int, attends: bool, groups: int | None
    ) -> None:
        """The first block changes the number of channels."""
        super().__init__()
        self.block = nn.ModuleList()
        self.attn = nn.ModuleList()
        for width in (channels, *[out_channels] * (blocks - 1)):
            self.block.append(ResidualBlock(width, out_channels, groups))
            if attends:
                self.attn.append(ChunkedAttention(out_channels, groups))
        self.downsample: nn.Module | None = None
        self.upsample: nn.Module | None = None

    def layers(self) -> Iterator[nn.Module]:
        """Yield the layers in the order of the data.

        A network applies them one after another to one variable: called as a whole, the level would
        keep its input, at this resolution the largest tensor, until its last layer.
        """
        for index, block in enumerate(self.block):
            yield block
            if self.attn:
                yield self.attn[index]
        yield from (m for m in (self.downsample, self.upsample) if m is not None)


class Middle(nn.Module):
    """The lowest resolution: two residual blocks, with attention between them or without."""

    def __init__(self, channels: int, attends: bool, groups: int | None) -> None:
        """All widths are equal."""
        super().__init__()
        self.block_1 = ResidualBlock(channels, channels, groups)
        # Built in any case, as in taming: it draws random numbers for its weights, and those of the
        # layers that follow must not depend on its use, so that a seed gives the same tokenizer.
        self.attn_1: nn.Module = ChunkedAttention(channels, groups)
        if not attends:
            self.attn_1 = nn.Identity()
        self.block_2 = ResidualBlock(channels, channels, groups)

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the same shape, (B, C, H, W)."""
        return self.block_2(self.attn_1(self.block_1(x)))


class VQGANEncoder(nn.Module):
    """Pixels to features at 1/f of the size, in two phases that tiles can be cut between."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a, groups = architecture, architecture.norm_groups
        self.shallow_levels = a.shallow_levels
        self.conv_in = nn.Conv2d(3, a.channels, 3, padding=1)
        self.down = nn.ModuleList()
        width, last = a.channels, len(a.multipliers) - 1
        for index, multiplier in enumerate(a.multipliers):
            out = a.channels * multiplier
            level = ResidualLevel(width, out, a.residual_blocks, index in a.attention, groups)
            if index != last:
                level.downsample = Downsample(out, with_conv=True)
            self.down.append(level)
            width = out
        self.mid = Middle(width, a.middle_attention, groups)
        self.norm_out = FreezableNorm(width, groups)
        self.conv_out = nn.Conv2d(width, a.latent or a.dimension, 3, padding=1)

    def shallow(self, x: Tensor) -> Tensor:
        """First phase: (B, 3, H, W) -> (B, C, H/4, W/4), or H/2 and W/2 where f is 2."""
        h = self.conv_in(x)
        for layer in _layers(self.down[: self.shallow_levels]):
            h = layer(h)
        return h

    def deep(self, features: Tensor) -> Tensor:
        """Second phase: features of `shallow` -> (B, latent, H/f, W/f)."""
        h = features
        for layer in _layers(self.down[self.shallow_levels :]):
            h = layer(h)
        return self.conv_out(functional.silu(self.norm_out(self.mid(h))))


class VQGANDecoder(nn.Module):
    """Features at 1/f of the size to pixels."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a, groups = architecture, architecture.norm_groups
        width = a.channels * a.multipliers[-1]
        self.conv_in = nn.Conv2d(a.latent or a.dimension, width, 3, padding=1)
        self.mid = Middle(width, a.middle_attention, groups)
        self.up = nn.ModuleList()
        for index in reversed(range(len(a.multipliers))):
            out = a.channels * a.multipliers[index]
            level = ResidualLevel(width, out, a.residual_blocks + 1, index in a.attention, groups)
            if index != 0:
                level.upsample = Upsample(out, with_conv=True)
            self.up.insert(0, level)  # numbered from full resolution, as in the encoder
            width = out
        self.norm_out = FreezableNorm(width, groups)
        self.conv_out = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, latent, h, w) -> pixels (B, 3, h*f, w*f) in the network's range."""
        h = self.mid(self.conv_in(x))
        for layer in _layers(reversed(self.up)):
            h = layer(h)
        return self.conv_out(nonlinearity(self.norm_out(h)))


def _layers(levels: Iterable[Any]) -> Iterator[nn.Module]:
    return chain.from_iterable(level.layers() for level in levels)
