"""Building blocks: convolution with norm, MBConv, fused MBConv, and EfficientViT's block."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from holohisto.segmenter.holohisto.attention.multi_scale import MultiScaleAttention
from holohisto.segmenter.holohisto.attention.softmax import SoftmaxAttention
from holohisto.segmenter.holohisto.norm import norm


class HardSwish(nn.Module):
    """x relu6(x + 3) / 6, in place in inference, because x of a 4K tile takes 130 MB."""

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape."""
        return functional.hardswish(x, inplace=not torch.is_grad_enabled())


def convolution(cin: int, cout: int, stride: int = 1) -> nn.Module:
    """3x3 convolution, norm, hard swish."""
    return nn.Sequential(
        nn.Conv2d(cin, cout, 3, stride, 1, bias=False),
        norm(cout),
        HardSwish(),
    )


class MBConv(nn.Module):
    """Inverted bottleneck (arXiv 1801.04381): widen, depthwise 3x3, narrow."""

    def __init__(self, cin: int, cout: int, stride: int = 1) -> None:
        """Build; with a residual if channels and stride keep the shape."""
        super().__init__()
        wide = 4 * cin
        self.layers = nn.Sequential(
            nn.Conv2d(cin, wide, 1),
            HardSwish(),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide),
            HardSwish(),
            nn.Conv2d(wide, cout, 1, bias=False),
            norm(cout),
        )
        self.residual = stride == 1 and cin == cout

    def forward(self, x: Tensor) -> Tensor:
        """(B, cin, H, W) -> (B, cout, ceil(H/stride), ceil(W/stride))."""
        out = self.layers(x)
        return out.add_(x) if self.residual else out


class FusedMBConv(nn.Module):
    """MBConv whose first two convolutions are one dense 3x3 (arXiv 2003.02838; EfficientViT-L).

    For fine resolutions, where channels are few and a dense convolution takes little longer than a
    depthwise one beside two pointwise ones.
    """

    def __init__(self, channels: int) -> None:
        """Build, residual, with twice the channels in between."""
        super().__init__()
        self.layers = nn.Sequential(
            convolution(channels, 2 * channels),
            nn.Conv2d(2 * channels, channels, 1, bias=False),
            norm(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape (B, channels, H, W)."""
        return self.layers(x).add_(x)


class Block(nn.Module):
    """EfficientViT block: context by attention, then local mixing by an MBConv FFN."""

    def __init__(self, channels: int, head: int, attention: str = "relu") -> None:
        """`head` channels per attention head; `attention` is `relu` (the method) or `softmax`."""
        super().__init__()
        kind = MultiScaleAttention if attention == "relu" else SoftmaxAttention
        self.attention = kind(channels, head)
        self.feed_forward = MBConv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape (B, C, H, W)."""
        x = x + self.attention(x)
        return self.feed_forward(x)
