"""Decoders: from features at the tokens' resolution to logits at full resolution."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from holohisto.segmenter.holohisto.backbone import Size
from holohisto.segmenter.holohisto.block import FusedMBConv, HardSwish, convolution
from holohisto.segmenter.holohisto.norm import norm


def resize(x: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """Interpolate (B, C, h, w) bilinearly to (B, C, *size)."""
    return functional.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


class TokenDecoder(nn.Module):
    """From tokens alone: pixel shuffle by 4, then bilinear to full size."""

    def __init__(self, size: Size, classes: int) -> None:
        super().__init__()
        self.head = nn.Sequential(
            convolution(size.fused, size.fused), nn.Conv2d(size.fused, 16 * classes, 1)
        )

    def forward(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, fused, h, w) -> (B, classes, *size)."""
        return resize(functional.pixel_shuffle(self.head(features), 4), size)


class Join(nn.Module):
    """A 1x1 convolution over coarse features, interpolated, and fine ones beside them.

    Interpolation and a 1x1 convolution commute, so the coarse part is narrowed where it is small.
    """

    def __init__(self, coarse: int, fine: int, cout: int) -> None:
        """Channels of the coarse, the fine and the joined features."""
        super().__init__()
        self.coarse = nn.Conv2d(coarse, cout, 1, bias=False)
        self.fine = nn.Conv2d(fine, cout, 1, bias=False)
        self.finish = nn.Sequential(norm(cout), HardSwish())

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """(B, coarse, h, w) and (B, fine, H, W) -> (B, cout, H, W)."""
        return self.finish(self.fine(fine).add_(resize(self.coarse(coarse), fine.shape[2:])))


class RgbDecoder(nn.Module):
    """The stem's features at strides 8, 4 and 2 give crisp edges."""

    def __init__(self, size: Size, classes: int) -> None:
        super().__init__()
        s2, s4, s8 = size.stem
        d8, d4, d2 = size.decoder
        self.join8 = Join(size.fused, s8, d8)
        self.mix8 = FusedMBConv(d8)
        self.join4 = Join(d8, s4, d4)
        self.mix4 = FusedMBConv(d4)
        self.join2 = Join(d4, s2, d2)
        self.mix2 = convolution(d2, d2)
        self.head = nn.Conv2d(d2, classes, 1)

    def forward(self, features: Tensor, size: tuple[int, int], skips: list[Tensor]) -> Tensor:
        """(B, fused, h, w) and the stem's features at strides 2, 4, 8 -> (B, classes, *size).

        `skips` is emptied, so that each is freed after its use.
        """
        x = self.mix8(self.join8(features, skips.pop()))
        x = self.mix4(self.join4(x, skips.pop()))
        x = self.mix2(self.join2(x, skips.pop()))
        return resize(self.head(x), size)
