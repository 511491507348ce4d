"""How well a segmenter does on an annotated slide while it is trained."""

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from holohisto.runtime.prefetch import prefetch
from holohisto.segmenter.inputs import Inputs
from holohisto.training.sampler import foreground_tiles
from holohisto.training.slides import TrainingSlide, View, stack


@torch.no_grad()
def slide_dice(
    model: nn.Module,
    inputs: Inputs,
    slide: TrainingSlide,
    tile: tuple[int, int],
    snap: int,
    fabric: Fabric,
) -> np.ndarray:
    """Return the Dice of a slide per class, (C,), NaN where unknown; each pixel counts once."""
    counts = np.zeros((3, len(slide.known)), np.int64)
    width, height = (min(t, s) for t, s in zip(tile, slide.field.size, strict=True))
    tiles = foreground_tiles(slide.field, (width, height), snap)
    read = prefetch(lambda t: stack([View(slide, t)], inputs.tokens, inputs.pixels), tiles, 1)
    for place, batch in zip(tiles, read, strict=True):
        batch.known[:, :, : -place.y % place.height] = False  # the tile above has these rows
        batch.known[:, :, :, : -place.x % place.width] = False
        with fabric.autocast():
            tokens, rgb = inputs(batch.tokens, batch.rgb, fabric.device)
            logits = model(tokens, rgb, size=batch.target.shape[2:])
        found = (logits > 0).cpu().numpy() & batch.known
        truth = batch.target & batch.known
        axes = (0, 2, 3)
        counts += [
            (found & truth).sum(axes),
            (found & ~truth).sum(axes),
            (~found & truth).sum(axes),
        ]
    tp, fp, fn = counts
    dice = np.where(tp + fp + fn == 0, 1.0, 2 * tp / np.maximum(2 * tp + fp + fn, 1))
    return np.where(slide.known, dice, np.nan)
