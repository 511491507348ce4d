"""Spatial attention of published VQGANs, without the N x N matrix."""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from holohisto.tokenizer.norm import FreezableNorm

QUERIES = 1024
"""Queries at a time: memory is O(chunk * N) even with torch's plain algorithm."""


class ChunkedAttention(nn.Module):
    """One head over all positions, added to its input; taming-transformers' AttnBlock.

    Its published form keeps N x N weights: 4 GB for one 4K tile at f = 16.
    """

    def __init__(self, channels: int, norm_groups: int | None = None) -> None:
        """Names and shapes are taming's, so that its weights load."""
        super().__init__()
        self.norm = FreezableNorm(channels, norm_groups)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Attend within (B, C, H, W)."""
        normed = self.norm(x)
        query, key, value = (
            rearrange(layer(normed), "b c h w -> b 1 (h w) c").contiguous()
            for layer in (self.q, self.k, self.v)
        )
        attended = torch.cat(
            [
                functional.scaled_dot_product_attention(chunk, key, value)
                for chunk in query.split(QUERIES, dim=2)
            ],
            dim=2,
        )
        return x + self.proj_out(rearrange(attended, "b 1 (h w) c -> b c h w", h=x.shape[2]))
