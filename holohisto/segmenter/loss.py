"""Dice plus binary cross-entropy, per class, over the pixels whose class is known."""

import torch
from torch import Tensor
from torch.nn import functional


def dice_bce(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Return the mean over classes of soft Dice loss (over the batch) plus cross-entropy.

    In fp32, because sums run over millions of pixels. Classes without a known pixel in the batch
    do not count.

    Args:
        logits: (B, C, H, W).
        target: (B, C, H, W) bool.
        known: (B, C, H, W) bool; False where the annotation says nothing of the class.

    Returns:
        A scalar; 0 if nothing is known.
    """
    with torch.autocast(logits.device.type, enabled=False):
        logits, truth, weight = logits.float(), target.float(), known.float()
        pixels = weight.sum(dim=(0, 2, 3))  # (C,)
        entropy = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        entropy = (entropy * weight).sum(dim=(0, 2, 3)) / pixels.clamp_min(1)
        probability = logits.sigmoid() * weight
        overlap = (probability * truth).sum(dim=(0, 2, 3))
        total = probability.sum(dim=(0, 2, 3)) + (truth * weight).sum(dim=(0, 2, 3))
        dice = 1 - (2 * overlap + 1) / (total + 1)
        counted = pixels > 0
        return ((dice + entropy) * counted).sum() / counted.sum().clamp_min(1)
