"""Multi-scale ReLU linear attention: the layer (EfficientViT, arXiv 2205.14756)."""

from torch import Tensor, nn

from holohisto.segmenter.holohisto.attention.linear import relu_linear_attention
from holohisto.segmenter.holohisto.norm import norm


class GroupMix(nn.Conv2d):
    """Mixes the channels of each group: a grouped 1x1 convolution as one batched product.

    torch runs such a convolution group by group on a CPU, and copies the groups together; cuDNN
    takes many small kernels for it.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape (B, C, H, W)."""
        groups = x.unflatten(1, (self.groups, -1)).flatten(3)  # (B, groups, C / groups, H * W)
        weight = self.weight.unflatten(0, (self.groups, -1))[..., 0, 0]  # (groups, out, in)
        mixed = weight @ groups  # (B, groups, C / groups, H * W)
        return mixed.flatten(1, 2).unflatten(2, x.shape[2:])


class MultiScaleAttention(nn.Module):
    """Three branches of ReLU linear attention: raw, 3x3 and 5x5 aggregated tokens.

    The layout is EfficientViT's LiteMLA with scales (3, 5): q, k and v lie interleaved per head,
    each head's q, k and v are aggregated apart, and the branches are concatenated as heads.
    """

    def __init__(self, channels: int, head: int, scales: tuple[int, ...] = (3, 5)) -> None:
        """`head` channels per head; `channels` must be a multiple of it."""
        super().__init__()
        self.head = head
        wide = 3 * channels
        self.qkv = nn.Conv2d(channels, wide, 1, bias=False)
        self.aggregate = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(wide, wide, scale, padding=scale // 2, groups=wide, bias=False),
                GroupMix(wide, wide, 1, groups=wide // head, bias=False),
            )
            for scale in scales
        )
        self.project = nn.Sequential(
            nn.Conv2d(channels * (1 + len(scales)), channels, 1, bias=False),
            norm(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Attend over all positions of (B, C, H, W)."""
        raw = self.qkv(x)
        branches = [raw, *(aggregate(raw) for aggregate in self.aggregate)]
        return self.project(relu_linear_attention(branches, self.head))
