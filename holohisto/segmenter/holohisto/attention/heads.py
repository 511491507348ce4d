"""Layout of what attention works on: channels are heads, a head's q, k and v lie together."""

import torch
from torch import Tensor


def tokens(x: Tensor, *sizes: int) -> Tensor:
    """View (B, heads * sizes, H, W), of any memory format, as (B, heads, *sizes, N)."""
    return x.unflatten(1, (-1, *sizes)).flatten(2 + len(sizes))


def like(x: Tensor, channels: int) -> Tensor:
    """Allocate (B, channels, H, W) with the dtype and memory format of (B, C, H, W)."""
    channels_last = x.is_contiguous(memory_format=torch.channels_last)
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    shape = (x.shape[0], channels, *x.shape[2:])
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=memory_format)


def wider(x: Tensor) -> torch.dtype:
    """Return fp32, or x's dtype if that is wider: what sums over tokens are formed in."""
    return torch.promote_types(x.dtype, torch.float32)
