"""Slide-level Dice of a segmenter on annotated slides, while it is trained."""

from collections.abc import Sequence

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from holohisto.runtime.prefetch import prefetch
from holohisto.segmenter.inputs import Inputs
from holohisto.tiles.grid import Tile
from holohisto.training.ranks import sum_over_ranks
from holohisto.training.sampler import SamplingArea, foreground_tiles
from holohisto.training.slides import TrainingSlide, View, stack


def mean_dice(
    model: nn.Module,
    inputs: Inputs,
    slides: Sequence[TrainingSlide],
    tile: tuple[int, int],
    snap: int,
    fabric: Fabric,
) -> float:
    """Return the mean Dice over slides and known classes; NaN without slides.

    The ranks share the slides; all return the same mean. Arguments as of `slide_dice`.
    """
    if not slides:
        return float("nan")
    scores = torch.zeros(len(slides), len(slides[0].known))
    for index, slide in enumerate(slides):
        if index % fabric.world_size == fabric.global_rank:
            scores[index] = torch.from_numpy(slide_dice(model, inputs, slide, tile, snap, fabric))
    if fabric.world_size > 1:
        scores = sum_over_ranks(fabric, scores)
    return float(scores.nanmean())


@torch.no_grad()
def slide_dice(
    model: nn.Module,
    inputs: Inputs,
    slide: TrainingSlide,
    tile: tuple[int, int],
    snap: int,
    fabric: Fabric,
    most_tiles: int | None = None,
) -> np.ndarray:
    """Return the Dice of a slide per class, (C,) float64, NaN where the class is unknown.

    Every pixel of a foreground tile counts once; a class that is neither annotated nor predicted
    scores 1.

    Args:
        model: The network, in evaluation mode.
        inputs: Its inputs.
        slide: The annotated slide.
        tile: Width and height of a tile, working pixels; limited to the slide's size.
        snap: Tile origins are multiples of it.
        fabric: Device and precision.
        most_tiles: As of `scored_tiles`.
    """
    counts = np.zeros((3, len(slide.known)), np.int64)
    tiles = scored_tiles(slide.area, tile, snap, most_tiles)
    batches = prefetch(lambda t: stack([View(slide, t)], inputs.tokens, inputs.pixels), tiles, 1)
    for position, batch in zip(tiles, batches, strict=True):
        # The tiles above and to the left have these rows and columns already.
        batch.known[:, :, : -position.y % position.height] = False
        batch.known[:, :, :, : -position.x % position.width] = False
        tokens, rgb = inputs(batch.tokens, batch.rgb, fabric.device)
        with fabric.autocast():
            logits = model(tokens, rgb, size=batch.target.shape[2:])
        predicted = (logits > 0).cpu().numpy() & batch.known
        truth = batch.target & batch.known
        axes = (0, 2, 3)
        counts += [
            (predicted & truth).sum(axes),
            (predicted & ~truth).sum(axes),
            (~predicted & truth).sum(axes),
        ]
    tp, fp, fn = counts
    dice = np.where(tp + fp + fn == 0, 1.0, 2 * tp / np.maximum(2 * tp + fp + fn, 1))
    return np.where(slide.known, dice, np.nan)


def scored_tiles(
    area: SamplingArea, tile: tuple[int, int], snap: int, most_tiles: int | None = None
) -> list[Tile]:
    """Return the tiles over which the Dice of a slide is computed, row by row.

    Args:
        area: Size and foreground of the slide.
        tile: Width and height of a tile, working pixels; limited to the slide's size.
        snap: Tile origins are multiples of it.
        most_tiles: Of more foreground tiles, this many at equal intervals are taken; None: all are.
    """
    width, height = (min(t, s) for t, s in zip(tile, area.size, strict=True))
    tiles = foreground_tiles(area, (width, height), snap)
    if most_tiles is None or len(tiles) <= most_tiles:
        return tiles
    return [tiles[len(tiles) * n // most_tiles] for n in range(most_tiles)]
