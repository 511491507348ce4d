"""The two-stage backbone over token embeddings."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from holohisto.segmenter.holohisto.block import Block, MBConv
from holohisto.segmenter.holohisto.channel_dropout import ChannelDropout
from holohisto.segmenter.holohisto.checkpointing import checkpointed


@dataclass(frozen=True)
class Size:
    """Widths (channels) and depths (blocks) of a segmenter."""

    stage1: int
    stage2: int
    blocks1: int
    blocks2: int
    head: int
    """Channels of an attention head."""
    fused: int
    """Channels of the fused stages."""
    stem: tuple[int, int, int]
    """Features of the pixels at strides 2, 4 and 8."""
    decoder: tuple[int, int, int]
    """Decoder features at strides 8, 4 and 2."""


SIZES = {
    "T": Size(64, 128, 2, 2, 16, 64, (12, 24, 32), (48, 32, 16)),
    "S": Size(128, 256, 3, 4, 16, 128, (16, 32, 64), (96, 48, 24)),
    "B": Size(256, 512, 6, 6, 32, 256, (32, 48, 64), (128, 64, 32)),
}


def doubled(x: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """Enlarge (B, C, ceil(h/2), ceil(w/2)) exactly twice, then cut to (B, C, *size), size = (h, w).

    Interpolation to an odd `size` itself would have a stride below 2, and features would drift from
    their places by up to half a token at the far border.
    """
    return functional.interpolate(x, scale_factor=2, mode="bilinear")[..., : size[0], : size[1]]


class Backbone(nn.Module):
    """Stage 1 at the tokens' resolution, stage 2 at half of it, fused at the tokens'."""

    def __init__(self, size: Size, attention: str) -> None:
        """Build with random weights; `attention` as in Block."""
        super().__init__()
        self.activation_checkpointing = False
        """Whether blocks compute their inner activations again in the backward pass."""

        def stage(channels: int, blocks: int) -> nn.Sequential:
            return nn.Sequential(*(Block(channels, size.head, attention) for _ in range(blocks)))

        self.stage1 = stage(size.stage1, size.blocks1)
        self.down = MBConv(size.stage1, size.stage2, stride=2)
        self.stage2 = stage(size.stage2, size.blocks2)
        self.lateral1 = nn.Conv2d(size.stage1, size.fused, 1)
        self.lateral2 = nn.Conv2d(size.stage2, size.fused, 1)
        self.dropout = ChannelDropout()
        self.fuse = nn.Sequential(nn.Conv2d(2 * size.fused, size.fused, 1), nn.GELU())

    def forward(self, embedded: Tensor) -> Tensor:
        """Return features (B, fused, h, w) of embeddings (B, stage1, h, w)."""
        fine = self._stage(self.stage1, embedded)
        coarse = self._stage(self.stage2, self.down(fine))
        coarse = self.lateral2(coarse)  # (B, fused, ceil(h/2), ceil(w/2))
        both = torch.cat([self.lateral1(fine), doubled(coarse, fine.shape[2:])], dim=1)
        return self.dropout(self.fuse(self.dropout(both)))

    def _stage(self, blocks: nn.Sequential, x: Tensor) -> Tensor:
        """Run the blocks of a stage, (B, C, H, W) kept."""
        for block in blocks:
            x = (
                checkpointed(block, x)
                if self.activation_checkpointing and self.training
                else block(x)
            )
        return x
