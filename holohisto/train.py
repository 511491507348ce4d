"""Training a segmenter: random tiles, Dice and cross-entropy, the best by validation Dice."""

import copy
import logging
import math
import os
import struct
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import psutil
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from holohisto import atomic
from holohisto.config import TrainOptions
from holohisto.errors import HolohistoError
from holohisto.prefetch import prefetch
from holohisto.progress import track
from holohisto.sampler import (
    GridSampler,
    RandomSampler,
    epoch_length,
    fitted,
    foreground_tiles,
    generator,
)
from holohisto.segmenter.loss import dice_bce
from holohisto.segmenter.store import Segmenter
from holohisto.segmenter.threshold import Histograms, ThresholdSegmenter
from holohisto.stain import change_stain
from holohisto.training_slide import Batch, TrainingSlide, stack
from holohisto.validation import inputs, slide_dice

logger = logging.getLogger(__name__)


@dataclass
class EpochRow:
    """One line of a model's training table."""

    epoch: int
    step: int
    loss: float
    learning_rate: float
    val_dice: float
    read_seconds: float
    step_seconds: float
    memory_mb: float


class Trainer:
    """A training run that can be left at any epoch and taken up again, bit for bit on a CPU."""

    def __init__(
        self, model: Segmenter, train: list[TrainingSlide], val: list[TrainingSlide],
        options: TrainOptions, seed: int, fabric: Fabric, workers: int = 2,
    ) -> None:  # fmt: skip
        """Prepare optimiser, schedule, average and sampler; `workers` threads read tiles."""
        self.workers = workers
        self.options, self.seed, self.fabric = options, seed, fabric
        self.train_slides, self.val_slides = train, val
        fields = [slide.field for slide in train]
        tile = fitted(options.tile, fields)
        snap = model.downscale if model.needs_tokens else 16
        if options.sampler == "random":
            self.sampler = RandomSampler(fields, tile, snap, seed, options.annotated_share)
        else:
            self.sampler = GridSampler(fields, tile, snap, seed)
        self.snap = snap
        self.samples = epoch_length(fields, tile, options.coverage, options.batch)
        self.steps = options.epochs * self.samples // options.batch
        self.raw = model
        optimiser = torch.optim.AdamW(_groups(model, options), options.learning_rate)
        self.model, self.optimiser = fabric.setup(model, optimiser)
        self.average = copy.deepcopy(model).eval().requires_grad_(False)
        self.epoch, self.step, self.rows = 0, 0, []
        self.best: dict[str, Tensor] = {}
        self.best_dice = -1.0

    def run(self, checkpoint: Path, identity: str) -> Iterator[list[EpochRow]]:
        """Train to the end, yielding the table after every validated epoch.

        The whole state is written to `checkpoint` each time; a run with the same `identity`
        found there is taken up where it stopped.
        """
        self._resume(checkpoint, identity)
        if self.rows:
            yield self.rows
        while self.epoch < self.options.epochs:
            row = self._epoch()
            if self.epoch % self.options.validate_every == 0 or self.epoch == self.options.epochs:
                row.val_dice = self.validate()
                if row.val_dice >= self.best_dice:
                    self.best_dice = row.val_dice
                    self.best = copy.deepcopy(self.average.state_dict())
            self.rows.append(row)
            logger.info(
                "epoch %d/%d: loss %.4f, validation Dice %.4f, %.1f s",
                self.epoch, self.options.epochs, row.loss, row.val_dice,
                row.read_seconds + row.step_seconds,
            )  # fmt: skip
            self._save(checkpoint, identity)
            yield self.rows

    def _epoch(self) -> EpochRow:
        self.model.train()
        batch = self.options.batch
        steps = self.samples // batch
        what = f"epoch {self.epoch + 1}/{self.options.epochs}"
        losses, reading, computing = [], 0.0, 0.0
        mark = time.monotonic()
        batches = prefetch(self._batch, range(steps), self.workers, self.workers)
        for tiles in track(batches, steps, what, unit="step"):
            start = time.monotonic()
            reading += start - mark
            losses.append(self._step(tiles))
            mark = time.monotonic()
            computing += mark - start
        self.epoch += 1
        return EpochRow(
            epoch=self.epoch, step=self.step, loss=float(np.mean(losses)),
            learning_rate=self.optimiser.param_groups[0]["lr"], val_dice=float("nan"),
            read_seconds=reading, step_seconds=computing, memory_mb=_memory_mb(),
        )  # fmt: skip

    def _batch(self, step: int) -> Batch:
        """Read the batch of a step of this epoch."""
        numbers = range(step * self.options.batch, (step + 1) * self.options.batch)
        samples = [self.sampler(self.epoch, n) for n in numbers]
        batch = stack(
            [(self.train_slides[s.slide], s.tile) for s in samples],
            self.raw.needs_tokens, self.raw.needs_pixels,
        )  # fmt: skip
        if batch.rgb is not None and self.options.brightness:
            for place, n in enumerate(numbers):
                random = generator(self.seed + 1, self.epoch, n)
                batch.rgb[place] = change_stain(batch.rgb[place], self.options.brightness, random)
        return batch

    def _step(self, batch: Batch) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.options, self.step, self.steps)
        target = torch.from_numpy(batch.target).to(self.fabric.device)
        known = torch.from_numpy(batch.known).to(self.fabric.device)
        logits = self.model(*inputs(batch, self.fabric.device), size=target.shape[2:])
        loss = dice_bce(logits, target, known)
        self._require_finite(loss, "loss", batch)
        self.optimiser.zero_grad()
        self.fabric.backward(loss)
        norm = self.fabric.clip_gradients(
            self.model, self.optimiser, max_norm=self.options.clip, error_if_nonfinite=False
        )
        self._require_finite(norm, "gradient", batch)
        self.optimiser.step()
        self._update_average()
        self.step += 1
        return float(loss.detach())

    def _require_finite(self, value: Tensor | None, what: str, batch: Batch) -> None:
        if value is not None and not torch.isfinite(value):
            raise HolohistoError(
                "train", f"the {what} is not finite at step {self.step}",
                found="tiles " + ", ".join(batch.names),
                advice="look at these tiles, or lower train.learning_rate",
            )  # fmt: skip

    @torch.no_grad()
    def _update_average(self) -> None:
        """Move the average towards the weights, and its running statistics likewise."""
        decay = min(self.options.ema, (1 + self.step) / (10 + self.step))
        current = self.raw.state_dict()
        for name, value in self.average.state_dict().items():
            if value.dtype.is_floating_point:
                value.lerp_(current[name], 1 - decay)
            else:
                value.copy_(current[name])

    def validate(self) -> float:
        """Return the mean over validation slides and known classes of the slide-level Dice."""
        if not self.val_slides:
            return float("nan")
        scores = [
            slide_dice(self.average, slide, self.options.tile, self.snap, self.fabric)
            for slide in self.val_slides
        ]
        return float(np.nanmean(np.concatenate(scores)))

    def _save(self, path: Path, identity: str) -> None:
        state = {
            "identity": identity, "epoch": self.epoch, "step": self.step,
            "model": self.raw.state_dict(), "average": self.average.state_dict(),
            "best": self.best, "best_dice": self.best_dice,
            "optimiser": self.optimiser.state_dict(), "rows": [asdict(row) for row in self.rows],
        }  # fmt: skip
        with atomic.replacing(path) as temporary:
            torch.save(state, temporary)

    def _resume(self, path: Path, identity: str) -> None:
        if not path.is_file():
            return
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            known = state["identity"] == identity
        except (RuntimeError, KeyError, TypeError, EOFError, struct.error, UnpicklingError):
            state, known = {}, False
        if not known:
            logger.warning("%s is of another training; starting anew", path)
            return
        self.epoch, self.step = state["epoch"], state["step"]
        self.raw.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.best, self.best_dice = state["best"], state["best_dice"]
        self.rows = [EpochRow(**row) for row in state["rows"]]
        logger.info("taking up the training after epoch %d", self.epoch)


def fit_threshold(
    slides: list[TrainingSlide], classes: int, tile: tuple[int, int]
) -> ThresholdSegmenter:
    """Return the colour threshold with the best Dice on all foreground tiles of the slides."""
    histograms = Histograms(classes)
    parts = [(s, t) for s in slides for t in foreground_tiles(s.field, tile, 16)]
    for slide, tile_ in track(parts, len(parts), "threshold"):
        batch = stack([(slide, tile_)], needs_tokens=False, needs_pixels=True)
        assert batch.rgb is not None
        histograms.add(
            torch.from_numpy(batch.rgb),
            torch.from_numpy(batch.target),
            torch.from_numpy(batch.known),
        )
    return histograms.best()


def learning_rate(options: TrainOptions, step: int, steps: int) -> float:
    """Rise linearly over the warm-up, then fall by a cosine to 1 % of the peak."""
    warmup = max(1, round(options.warmup * steps))
    if step < warmup:
        return options.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return options.learning_rate * (0.505 + 0.495 * math.cos(math.pi * done))


def _groups(model: nn.Module, options: TrainOptions) -> list[dict[str, Any]]:
    """No weight decay for norms and biases."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    return [
        {"params": decayed, "weight_decay": options.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


def _memory_mb() -> float:
    """Peak memory of the device, or of the process on a CPU."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return psutil.Process(os.getpid()).memory_info().rss / 2**20
