"""Probabilities of tiles."""

import torch
from torch import Tensor

from holohisto.device import device_of
from holohisto.segmenter.file import Segmenter


@torch.no_grad()
def predict(
    model: Segmenter, tokens: Tensor | None, rgb: Tensor | None, size: tuple[int, int]
) -> Tensor:
    """Return the probabilities of tiles, (B, classes, height, width) float32.

    Args:
        model: The segmenter.
        tokens: (B, h, w) integers, if it reads them.
        rgb: (B, 3, height, width) uint8, if it reads them.
        size: (height, width) of a tile.
    """
    device = device_of(model).type
    with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
        logits = model(tokens, rgb, size)  # pyright: ignore
    return logits.float().sigmoid()
