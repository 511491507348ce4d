"""Decoders: from features at the tokens' resolution to logits at full resolution."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from holohisto.segmenter.backbone import Size
from holohisto.segmenter.block import MBConv, convolution, separable


def resize(x: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """Interpolate (B, C, h, w) bilinearly to (B, C, *size)."""
    return functional.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


class TokenDecoder(nn.Module):
    """From tokens alone: pixel shuffle by 4, then bilinear to full size."""

    def __init__(self, size: Size, classes: int) -> None:
        """One logit a class."""
        super().__init__()
        self.head = nn.Sequential(
            convolution(size.fused, size.fused, 3), nn.Conv2d(size.fused, 16 * classes, 1)
        )

    def forward(self, features: Tensor, pixels: Tensor | None, size: tuple[int, int]) -> Tensor:
        """(B, fused, h, w) -> (B, classes, *size); pixels are not looked at."""
        return resize(functional.pixel_shuffle(self.head(features), 4), size)


class RgbDecoder(nn.Module):
    """A small stem over the pixels gives crisp edges as skips at strides 8, 4 and 2."""

    def __init__(self, size: Size, classes: int) -> None:
        """One logit a class."""
        super().__init__()
        s2, s4, s8 = size.stem
        self.stem2 = convolution(3, s2, 3, 2)
        self.stem4 = separable(s2, s4, 2)
        self.stem8 = separable(s4, s8, 2)
        d8, d4, d2 = size.decoder
        self.join8 = convolution(size.fused + s8, d8)
        self.mix8 = MBConv(d8, d8)
        self.join4 = convolution(d8 + s4, d4)
        self.mix4 = MBConv(d4, d4, expand=2)
        self.join2 = convolution(d4 + s2, d2)
        self.mix2 = separable(d2, d2)
        self.head = nn.Conv2d(d2, classes, 1)

    def forward(self, features: Tensor, pixels: Tensor | None, size: tuple[int, int]) -> Tensor:
        """(B, fused, h, w) and pixels (B, 3, H, W) in -1..1 -> (B, classes, *size)."""
        assert pixels is not None
        fine = self.stem2(pixels)
        middle = self.stem4(fine)
        coarse = self.stem8(middle)
        x = self.mix8(self.join8(_beside(features, coarse)))
        x = self.mix4(self.join4(_beside(x, middle)))
        x = self.mix2(self.join2(_beside(x, fine)))
        return resize(self.head(x), size)


def _beside(x: Tensor, skip: Tensor) -> Tensor:
    return torch.cat([resize(x, skip.shape[2:]), skip], dim=1)
