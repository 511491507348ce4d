"""Freezing a tokenizer's statistics at those of training tissue."""

import copy

import numpy as np
import torch

from holohisto.device import device_of
from holohisto.errors import HolohistoError
from holohisto.tokenizer.norm import FreezableNorm, RunningMoments
from holohisto.tokenizer.vqgan import VQGAN


@torch.no_grad()
def calibrate(model: VQGAN, tiles: list[np.ndarray], tolerance: float, most: int = 40) -> int:
    """Freeze the encoder's statistics at those of training tiles; return the number of sweeps.

    A layer's input depends on the layers before it, so each sweep runs with the frozen values of
    the sweep before it, until no mean (in standard deviations) or variance (relative) changes by
    more than `tolerance`. The values settle layer by layer, after at most as many sweeps as layers.

    Args:
        model: Left calibrated and frozen.
        tiles: Training foreground, each (height, width, 3) uint8.
        tolerance: Largest change at which the sweeps stop.
        most: Largest number of sweeps.

    Raises:
        HolohistoError: the statistics did not settle within so many sweeps.
    """
    device = device_of(model)
    model.freeze(False)
    for sweep in range(1, most + 1):
        for norm in model.norms:
            norm.moments = RunningMoments()
        for tile in tiles:
            rgb = torch.from_numpy(tile).permute(2, 0, 1)[None].to(device)
            model.latents(model.pixels(rgb))
        change = max(_adopt(norm) for norm in model.norms)
        model.freeze()
        if sweep > 1 and change <= tolerance:
            model.calibrated = True
            return sweep
    raise HolohistoError(
        "tokenizer",
        "the frozen statistics did not settle",
        found=f"change {change:.2g}",
        allowed=f"at most {tolerance:g}",
        advice="set tokenizer.calibration_tiles higher",
    )


def _adopt(norm: FreezableNorm) -> float:
    """Store the moments of a sweep as statistics; return the largest relative change."""
    moments = norm.moments
    assert moments is not None
    norm.moments = None
    mean, variance = torch.as_tensor(moments.mean).float(), moments.variance.float()
    spread = (norm.variance + norm.eps).sqrt()
    change = torch.maximum(
        (mean - norm.mean).abs() / spread, (variance - norm.variance).abs() / spread.square()
    ).max()
    norm.mean.copy_(mean)
    norm.variance.copy_(variance)
    return float(change)


@torch.no_grad()
def agreement(model: VQGAN, tiles: list[np.ndarray]) -> float:
    """Return the share of tokens that frozen and native normalisation have in common.

    Args:
        model: Calibrated and frozen; not changed.
        tiles: At least one, each (height, width, 3) uint8.
    """
    device = device_of(model)
    native = copy.deepcopy(model)
    native.freeze(False)
    same = total = 0
    for tile in tiles:
        rgb = torch.from_numpy(tile).permute(2, 0, 1)[None].to(device)
        equal = model.tokens(rgb) == native.tokens(rgb)
        same, total = same + int(equal.sum()), total + equal.numel()
    return same / total
