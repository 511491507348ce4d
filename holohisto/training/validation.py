"""Dice of a segmenter on annotated slides, while it is trained and for the value of its tokens."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from holohisto.runtime.prefetch import prefetch
from holohisto.runtime.progress import track
from holohisto.segmenter.inputs import Inputs
from holohisto.tiles.grid import Tile
from holohisto.training.ranks import sum_over_ranks
from holohisto.training.sampler import SamplingArea, foreground_tiles
from holohisto.training.slides import Batch, TrainingSlide, View, stack

Item = TypeVar("Item")
SlideTile = tuple[TrainingSlide, Tile]
"""A tile of a slide, working pixels."""


class Validation:
    """Dice over the tiles of all validation slides together, so that every pixel counts alike.

    A mean over slides would be decided by the smallest objects, and by single false pixels on
    slides without any.
    """

    def __init__(
        self,
        slides: Sequence[TrainingSlide],
        inputs: Inputs,
        tile: tuple[int, int],
        snap: int,
        fabric: Fabric,
        workers: int,
        most_tiles: int | None = None,
        kept_bytes: int = 0,
    ) -> None:
        """Choose the tiles, the same ones for every validation.

        Args:
            slides: The annotated slides.
            inputs: The networks' inputs.
            tile: Width and height of a tile, working pixels; limited to each slide's size.
            snap: Tile origins are multiples of it.
            fabric: Device, precision and ranks, which share the tiles.
            workers: Threads that read tiles.
            most_tiles: Of more foreground tiles, this many at equal intervals are taken; None: all.
            kept_bytes: Bytes of tiles that are kept from one validation to the next, the first ones
                read; the others are read each time.
        """
        self._kept: dict[int, Batch] = {}
        self._free, self._lock = kept_bytes, threading.Lock()
        self.inputs, self.fabric, self.workers = inputs, fabric, workers
        self.classes = len(slides[0].known) if slides else 0
        tiles = [(slide, t) for slide in slides for t in scored_tiles(slide.area, tile, snap)]
        self.tiles = evenly(tiles, most_tiles)

    def dice(self, model: nn.Module) -> np.ndarray:
        """Return the Dice of each class, (C,) float64, the same on all ranks.

        Args:
            model: The network, in evaluation mode.

        Returns:
            NaN for a class that is annotated on none of the tiles; empty without slides.
        """
        counts = np.zeros((3, self.classes), np.int64)
        own = range(self.fabric.global_rank, len(self.tiles), self.fabric.world_size)
        with torch.no_grad():
            read = prefetch(self._read, own, self.workers)
            for batch in track(read, len(own), "validation", unit="tile"):
                counts += confusion(model, self.inputs, batch, self.fabric)
        if self.fabric.world_size > 1:
            counts = sum_over_ranks(self.fabric, torch.from_numpy(counts)).numpy()
        tp, fp, fn = counts
        return np.where(tp + fn > 0, 2 * tp / np.maximum(2 * tp + fp + fn, 1), np.nan)

    def mean_dice(self, model: nn.Module) -> float:
        """Return the mean Dice over the annotated classes; NaN without any."""
        dice = self.dice(model)
        annotated = dice[~np.isnan(dice)]
        return float(annotated.mean()) if len(annotated) else float("nan")

    def _read(self, number: int) -> Batch:
        if number in self._kept:
            return self._kept[number]
        batch = scored_batch(self.tiles[number], self.inputs)
        with self._lock:
            if batch.nbytes <= self._free:
                self._free -= batch.nbytes
                self._kept[number] = batch
        return batch


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

    A class that is neither annotated nor predicted scores 1.

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
    for batch in _scored_batches(slide, scored_tiles(slide.area, tile, snap, most_tiles), inputs):
        counts += confusion(model, inputs, batch, fabric)
    tp, fp, fn = counts
    dice = np.where(tp + fp + fn == 0, 1.0, 2 * tp / np.maximum(2 * tp + fp + fn, 1))
    return np.where(slide.known, dice, np.nan)


def _scored_batches(slide: TrainingSlide, tiles: Iterable[Tile], inputs: Inputs) -> Iterator[Batch]:
    return prefetch(lambda tile: scored_batch((slide, tile), inputs), tiles, 1)


def scored_batch(slide_tile: SlideTile, inputs: Inputs) -> Batch:
    """Read one tile; what the tiles above and to its left show is unknown, to count once."""
    slide, tile = slide_tile
    batch = stack([View(slide, tile)], inputs.tokens, inputs.pixels)
    batch.known[:, :, : -tile.y % tile.height] = False
    batch.known[:, :, :, : -tile.x % tile.width] = False
    return batch


def confusion(model: nn.Module, inputs: Inputs, batch: Batch, fabric: Fabric) -> np.ndarray:
    """Return true positive, false positive and false negative known pixels, (3, C) int64."""
    tokens, rgb = inputs(batch.tokens, batch.rgb, fabric.device)
    target = torch.from_numpy(batch.target).to(fabric.device)
    known = torch.from_numpy(batch.known).to(fabric.device)
    with fabric.autocast():
        logits = model(tokens, rgb, size=batch.target.shape[2:])
    predicted, truth = (logits > 0) & known, target & known
    masks = (predicted & truth, predicted & ~truth, ~predicted & truth)
    return torch.stack([mask.sum(dim=(0, 2, 3)) for mask in masks]).cpu().numpy()


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
    return evenly(foreground_tiles(area, (width, height), snap), most_tiles)


def evenly(items: list[Item], most: int | None) -> list[Item]:
    """Return at most `most` items, at equal intervals; None: all of them."""
    if most is None or len(items) <= most:
        return items
    return [items[len(items) * n // most] for n in range(most)]
