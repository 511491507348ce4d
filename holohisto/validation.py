"""How well a segmenter does on an annotated slide while it is trained."""

from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from holohisto.prefetch import prefetch
from holohisto.sampler import foreground_tiles
from holohisto.training_slide import Batch, TrainingSlide, stack


@torch.no_grad()
def slide_dice(
    model: nn.Module, slide: TrainingSlide, tile: tuple[int, int], snap: int, fabric: Fabric
) -> np.ndarray:
    """Return the Dice of a slide per class, (C,), NaN where unknown; each pixel counts once."""
    segmenter: Any = model
    counts = np.zeros((3, len(slide.known)), np.int64)
    width, height = (min(t, s) for t, s in zip(tile, slide.field.size, strict=True))
    tiles = foreground_tiles(slide.field, (width, height), snap)
    read = prefetch(
        lambda t: stack([(slide, t)], segmenter.needs_tokens, segmenter.needs_pixels), tiles, 1
    )
    for place, batch in zip(tiles, read, strict=True):
        batch.known[:, :, : -place.y % place.height] = False  # the tile above has these rows
        batch.known[:, :, :, : -place.x % place.width] = False
        target = torch.from_numpy(batch.target)
        with fabric.autocast():
            logits = model(*inputs(batch, fabric.device), size=target.shape[2:])
        found = (logits > 0).cpu().numpy() & batch.known
        truth = batch.target & batch.known
        axes = (0, 2, 3)
        counts += [
            (found & truth).sum(axes), (found & ~truth).sum(axes), (~found & truth).sum(axes)
        ]  # fmt: skip
    tp, fp, fn = counts
    dice = np.where(tp + fp + fn == 0, 1.0, 2 * tp / np.maximum(2 * tp + fp + fn, 1))
    return np.where(slide.known, dice, np.nan)


def inputs(batch: Batch, device: torch.device) -> tuple[Tensor | None, Tensor | None]:
    """Return tokens and pixels of a batch on the device, None for what the model does not read."""
    tokens, rgb = (
        None if part is None else torch.from_numpy(part).to(device)
        for part in (batch.tokens, batch.rgb)
    )
    return tokens, rgb
