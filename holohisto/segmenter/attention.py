"""Multi-scale ReLU linear attention (HoloHisto Eq. 2; EfficientViT, arXiv 2205.14756)."""

import torch
from einops import rearrange
from torch import Tensor, nn

EPSILON = 1e-6


def relu_linear_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend with ReLU kernels in time linear in the number of tokens (Eq. 2).

    out_i = relu(q_i) . sum_j relu(k_j)^T v_j / (relu(q_i) . sum_j relu(k_j)), where both sums are
    formed once. They run over N in fp32 and are divided by N, because at N = 32,400 fp16 sums
    overflow. A query without a positive component gives 0.

    Args:
        q: Queries (B, heads, N, d), any floating dtype.
        k: Keys, same shape.
        v: Values, same shape.

    Returns:
        (B, heads, N, d) in the dtype of `v`.
    """
    dtype = v.dtype
    with torch.autocast(v.device.type, enabled=False):
        q, k, v = torch.relu(q.float()), torch.relu(k.float()), v.float()
        n = k.shape[2]
        kv = k.transpose(2, 3) @ (v / n)  # (B, heads, d, d)
        total = k.mean(dim=2).unsqueeze(3)  # (B, heads, d, 1)
        out = (q @ kv) / (q @ total + EPSILON)
    return out.to(dtype)


class MultiScaleAttention(nn.Module):
    """Three branches of ReLU linear attention: raw, 3x3 and 5x5 aggregated tokens.

    The layout is EfficientViT's LiteMLA with scales (3, 5): q, k and v lie interleaved per head,
    each head's q, k and v are aggregated apart, and the branches are concatenated as heads.
    """

    def __init__(self, channels: int, head: int, scales: tuple[int, ...] = (3, 5)) -> None:
        """`head` channels a head; `channels` must be a multiple of it."""
        super().__init__()
        self.head = head
        wide = 3 * channels
        self.qkv = nn.Conv2d(channels, wide, 1, bias=False)
        self.aggregate = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(wide, wide, scale, padding=scale // 2, groups=wide, bias=False),
                nn.Conv2d(wide, wide, 1, groups=wide // head, bias=False),
            )
            for scale in scales
        )
        self.project = nn.Sequential(
            nn.Conv2d(channels * (1 + len(scales)), channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Attend over all positions of (B, C, H, W)."""
        height, width = x.shape[2:]
        raw = self.qkv(x)
        branches = torch.cat([raw, *(aggregate(raw) for aggregate in self.aggregate)], dim=1)
        qkv = rearrange(
            branches, "b (heads three d) h w -> three b heads (h w) d", three=3, d=self.head
        )
        out = relu_linear_attention(qkv[0], qkv[1], qkv[2])
        out = rearrange(out, "b heads (h w) d -> b (heads d) h w", h=height, w=width)
        return self.project(out)
