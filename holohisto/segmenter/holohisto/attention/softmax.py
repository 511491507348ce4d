"""Softmax attention at one scale: the ablation of linear attention (Table 3)."""

import math

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from holohisto.segmenter.holohisto.norm import norm


class SoftmaxAttention(nn.Module):
    """Multi-head self-attention over all positions; cost is quadratic in their number."""

    def __init__(self, channels: int, head: int) -> None:
        """`head` channels per head; `channels` must be a multiple of it."""
        super().__init__()
        self.head = head
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.project = nn.Sequential(nn.Conv2d(channels, channels, 1, bias=False), norm(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Attend over all positions of (B, C, H, W), to which sine positions are added."""
        height, width = x.shape[2:]
        positions = sine_positions(x.shape[1], height, width, x.device).to(x.dtype)
        qkv = rearrange(
            self.qkv(x + positions),
            "b (three heads d) h w -> three b heads (h w) d",
            three=3,
            d=self.head,
        )
        out = functional.scaled_dot_product_attention(*qkv.contiguous())
        return self.project(rearrange(out, "b heads (h w) d -> b (heads d) h w", h=height))


def sine_positions(channels: int, height: int, width: int, device: torch.device) -> Tensor:
    """Return sines and cosines of both coordinates, (channels, height, width) float32.

    A quarter of the channels each for sine and cosine of x and of y, in octaves.
    """
    count = channels // 4
    rates = torch.exp(torch.arange(count, device=device) * (-math.log(10_000) / count))
    y = torch.arange(height, device=device)[:, None] * rates  # (height, count)
    x = torch.arange(width, device=device)[:, None] * rates
    waves = [
        *(wave.T[:, None, :].expand(count, height, width) for wave in (x.sin(), x.cos())),
        *(wave.T[:, :, None].expand(count, height, width) for wave in (y.sin(), y.cos())),
    ]
    return torch.cat(waves)
