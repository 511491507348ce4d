"""Dice of a segmenter on annotated slides while it is trained, by torch.

Weights change from one validation to the next, and converting them for OpenVINO takes longer than
it would save.
"""

import threading
from collections.abc import Sequence

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from holohisto.runtime.prefetch import prefetch
from holohisto.runtime.progress import track
from holohisto.segmenter.inputs import Inputs
from holohisto.training.ranks import sum_over_ranks
from holohisto.training.scoring import Reads, evenly, scored_batch, scored_tiles
from holohisto.training.slides import Batch, TrainingSlide


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
        batch = scored_batch(self.tiles[number], Reads(self.inputs.tokens, self.inputs.pixels))
        with self._lock:
            if batch.nbytes <= self._free:
                self._free -= batch.nbytes
                self._kept[number] = batch
        return batch


@torch.no_grad()
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
