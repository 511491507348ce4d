"""Dice plus binary cross-entropy, per class, over the pixels whose class is known."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from holohisto.device import at_least_fp32
from holohisto.training.ranks import over_ranks


def dice_bce(sums: Tensor, weights: Sequence[float] = (1.0,)) -> Tensor:
    """Return the weighted mean over outputs and classes of soft Dice plus cross-entropy.

    Soft Dice as in V-Net (Milletari et al. 2016, arXiv 1606.04797), over the tiles of all ranks and
    with 1 added to numerator and denominator. Classes without a known pixel do not count.

    Args:
        sums: (5, outputs * C), of this rank's tiles, from `pixel_sums`.
        weights: of each output, several of which a network with deep supervision has.

    Returns:
        A scalar; 0 if nothing is known.
    """
    pixels, entropy, overlap, predicted, true = over_ranks(sums)  # each (C,)
    dice = 1 - (2 * overlap + 1) / (predicted + true + 1)
    share = sums.new_tensor(weights).repeat_interleave(sums.shape[1] // len(weights))
    counted = (pixels > 0) * share
    loss = (dice + entropy / pixels.clamp_min(1)) * counted
    return loss.sum() / counted.sum().clamp_min(min(weights))


def pixel_sums(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Return what the loss of any number of tiles is a function of; sums of batches add up.

    Computed in fp32, because sums run over millions of pixels, or in the logits' fp64.

    Args:
        logits: (B, outputs * C, H, W); several outputs with deep supervision.
        target: (B, C, H, W) bool, the same for every output.
        known: (B, C, H, W) bool; False where the annotation does not cover the class.

    Returns:
        (5, outputs * C) float32 or float64: known pixels; over these, the sums of cross-entropy, of
        probability where the class is annotated, of probability, and of annotated pixels.
    """
    with torch.autocast(logits.device.type, enabled=False):
        outputs = (1, logits.shape[1] // target.shape[1], 1, 1)
        logits = at_least_fp32(logits)
        truth, weight = (mask.to(logits.dtype).repeat(outputs) for mask in (target, known))
        entropy = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        probability = logits.sigmoid() * weight
        summands = (weight, entropy * weight, probability * truth, probability, truth * weight)
        return torch.stack([summand.sum(dim=(0, 2, 3)) for summand in summands])
