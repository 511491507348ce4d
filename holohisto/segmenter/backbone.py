"""The two-stage backbone over token embeddings."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from holohisto.segmenter.block import Block, MBConv


@dataclass(frozen=True)
class Size:
    """Widths and depths of a segmenter."""

    stage1: int
    stage2: int
    blocks1: int
    blocks2: int
    head: int
    """Channels of an attention head."""
    fused: int
    stem: tuple[int, int, int]
    """RGB features at strides 2, 4 and 8."""
    decoder: tuple[int, int, int]
    """Decoder features at strides 8, 4 and 2."""


SIZES = {
    "T": Size(64, 128, 2, 2, 16, 64, (12, 24, 32), (48, 32, 16)),
    "S": Size(128, 256, 3, 4, 16, 128, (16, 32, 64), (96, 48, 24)),
}


class Backbone(nn.Module):
    """Stage 1 at the tokens' resolution, stage 2 at half of it, fused at the tokens'."""

    def __init__(self, dimension: int, size: Size) -> None:
        """`dimension` is the length of a code."""
        super().__init__()
        self.embed = nn.Sequential(
            nn.Conv2d(dimension, size.stage1, 1, bias=False), nn.BatchNorm2d(size.stage1)
        )
        self.stage1 = nn.Sequential(*(Block(size.stage1, size.head) for _ in range(size.blocks1)))
        self.down = MBConv(size.stage1, size.stage2, stride=2)
        self.stage2 = nn.Sequential(*(Block(size.stage2, size.head) for _ in range(size.blocks2)))
        self.lateral1 = nn.Conv2d(size.stage1, size.fused, 1)
        self.lateral2 = nn.Conv2d(size.stage2, size.fused, 1)
        self.fuse = nn.Sequential(nn.Conv2d(2 * size.fused, size.fused, 1), nn.GELU())

    def forward(self, codes: Tensor) -> Tensor:
        """Turn codes (B, d, h, w) into features (B, fused, h, w)."""
        fine = self.stage1(self.embed(codes))
        coarse = self.lateral2(self.stage2(self.down(fine)))  # (B, fused, ceil(h/2), ceil(w/2))
        coarse = functional.interpolate(coarse, size=fine.shape[2:], mode="bilinear")
        return self.fuse(torch.cat([self.lateral1(fine), coarse], dim=1))
