"""Layout of the channels that attention works on: head by head, each with its q, k and v."""

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
    """Return the dtype of sums over tokens: fp32, or the dtype of x if that is wider."""
    return torch.promote_types(x.dtype, torch.float32)
