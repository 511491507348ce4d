"""Training a segmenter: random tiles, Dice and cross-entropy, the best by validation Dice."""

import copy
import logging
import math
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from holohisto.config.training import TrainOptions
from holohisto.errors import HolohistoError
from holohisto.runtime.prefetch import prefetch
from holohisto.runtime.progress import track
from holohisto.runtime.stop import Interruption
from holohisto.segmenter.baselines.threshold import Histograms, ThresholdSegmenter
from holohisto.segmenter.file import Segmenter
from holohisto.segmenter.holohisto.channel_dropout import leave_out
from holohisto.segmenter.inputs import Inputs
from holohisto.tiles.appearance import Appearance, Strength
from holohisto.tiles.grid import whole
from holohisto.tiles.randomness import generator
from holohisto.tiles.variants import Variant
from holohisto.tokenizer.vqgan import VQGAN
from holohisto.training.checkpoint import load_checkpoint, save_checkpoint
from holohisto.training.cutmix import Rectangle, exchange, random_rectangle
from holohisto.training.loss import dice_bce
from holohisto.training.ranks import synchronise
from holohisto.training.sampler import (
    GridSampler,
    RandomSampler,
    epoch_length,
    equal_pixels,
    fitted,
    foreground_tiles,
)
from holohisto.training.slides import Batch, TrainingSlide, View, stack
from holohisto.training.validation import slide_dice

SAVE_SECONDS = 600
"""Between two checkpoints within an epoch."""
SCALE_POWERS = (-1.0, -0.5, 0.0, 0.5, 1.0)
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
    """A training run that can be left at any step and taken up again, bit for bit on a CPU.

    Under several ranks each computes its share of every step's tiles; sums are over all of them, so
    that the result is that of one rank but for rounding.
    """

    def __init__(
        self,
        model: Segmenter,
        train: list[TrainingSlide],
        val: list[TrainingSlide],
        options: TrainOptions,
        seed: int,
        fabric: Fabric,
        workers: int = 2,
        tokenizer: VQGAN | None = None,
    ) -> None:
        """Prepare optimiser, schedule, average and sampler.

        `workers` threads read tiles; a `tokenizer` is given in mode `online`.
        """
        self.inputs = Inputs(model, tokenizer)
        self.workers = workers
        self.options, self.seed, self.fabric = options, seed, fabric
        self.train_slides, self.val_slides = train, val
        fields = [slide.field for slide in train]
        self.tile = model.tile or options.tile
        usual, tile = fitted(options.tile, fields), fitted(self.tile, fields)
        snap = model.downscale if model.needs_tokens else 16
        self.strength = Strength.of(options.augmentation)
        self.variants = self._variants()
        if options.sampler == "random":
            self.sampler = RandomSampler(
                fields, tile, snap, seed, options.annotated_share, self.variants
            )
        else:
            self.sampler = GridSampler(fields, tile, snap, seed, self.variants)
        self.snap = snap
        self.seen = whole(tile, snap)
        self.batch = equal_pixels(options.batch, whole(usual, snap), self.seen)
        _require_shares(self.batch, fabric.world_size)
        share = self.batch // fabric.world_size
        self.parts = math.ceil(
            share / min(model.micro_batch or share, options.micro_batch or share)
        )
        samples = epoch_length(fields, usual, options.coverage, options.batch)
        self.epoch_steps = samples // options.batch
        self.steps = options.epochs * self.epoch_steps
        self.raw = model
        if fabric.world_size > 1:
            synchronise(model)
        optimiser = torch.optim.AdamW(_groups(model, options), options.learning_rate)
        self.model, self.optimiser = fabric.setup(model, optimiser)
        self.average = copy.deepcopy(model).eval().requires_grad_(False)
        self.epoch, self.step, self.rows = 0, 0, []
        self.losses: list[float] = []
        """Of the steps of the present epoch."""
        self.reading = self.computing = 0.0
        self.best: dict[str, Tensor] = {}
        self.best_dice, self.best_epoch = -1.0, 0
        self.interruption = Interruption()

    def run(self, checkpoint: Path, identity: str) -> Iterator[list[EpochRow]]:
        """Train to the end, yielding the table after every epoch.

        The whole state is written to `checkpoint` after every epoch, every ten minutes and when the
        process is told to end; a run with the same `identity` found there is taken up.
        """
        self._resume(checkpoint, identity)
        self._require_one_step(checkpoint)
        if self.rows:
            yield self.rows
        while not self._finished():
            row = self._epoch(checkpoint, identity)
            if self.epoch % self.options.validate_every == 0 or self.epoch == self.options.epochs:
                row.val_dice = self.validate()
                if row.val_dice >= self.best_dice:
                    self.best_dice, self.best_epoch = row.val_dice, self.epoch
                    self.best = copy.deepcopy(self.average.state_dict())
            self.rows.append(row)
            logger.info(
                "epoch %d/%d: loss %.4f, validation Dice %.4f, %.1f s reading, %.1f s steps",
                self.epoch,
                self.options.epochs,
                row.loss,
                row.val_dice,
                row.read_seconds,
                row.step_seconds,
            )
            self._save(checkpoint, identity)
            yield self.rows

    def _finished(self) -> bool:
        """Whether all epochs are done, or the best one is too long ago."""
        patience = self.options.patience
        stale = patience > 0 and self.best_epoch and self.epoch - self.best_epoch >= patience
        if stale and self.epoch < self.options.epochs:
            logger.info("no better validation Dice for %d epochs: stopping", patience)
        return bool(stale) or self.epoch >= self.options.epochs

    def _epoch(self, checkpoint: Path, identity: str) -> EpochRow:
        """Run what is left of the present epoch."""
        self.model.train()
        done = len(self.losses)
        if done == 0:  # dropout too is the same when taken up again
            torch.manual_seed(self.seed + self.epoch)
        what = f"epoch {self.epoch + 1}/{self.options.epochs}"
        places = range(done, self.epoch_steps)
        batches = prefetch(self._batch, places, self.workers, self.workers)
        mark = saved = time.monotonic()
        with self.interruption.awaited():
            for tiles in track(batches, len(places), what, unit="step"):
                start = time.monotonic()
                self.reading += start - mark
                self.losses.append(self._step(tiles))
                mark = time.monotonic()
                self.computing += mark - start
                if self._told_to_stop():
                    self._save(checkpoint, identity)
                    self.fabric.barrier()  # a rank that ends may take the others with it
                    logger.info("told to stop: saved after step %d", self.step)
                    self.interruption.end()
                if mark - saved > SAVE_SECONDS:
                    self._save(checkpoint, identity)
                    saved = mark
        self.epoch += 1
        row = EpochRow(
            epoch=self.epoch,
            step=self.step,
            loss=float(np.mean(self.losses)),
            learning_rate=self.optimiser.param_groups[0]["lr"],
            val_dice=float("nan"),
            read_seconds=self.reading,
            step_seconds=self.computing,
            memory_mb=_memory_mb(),
        )
        self.losses, self.reading, self.computing = [], 0.0, 0.0
        return row

    def _told_to_stop(self) -> bool:
        """Whether this or another rank got the signal."""
        told = self.interruption.number is not None
        if self.fabric.world_size == 1:
            return told
        anyone = bool(self._summed(torch.tensor(float(told))) > 0)
        if anyone and not told:
            self.interruption.number = signal.SIGTERM
        return anyone

    def _summed(self, values: Tensor) -> Tensor:
        """Add up over the ranks."""
        summed = self.fabric.all_reduce(values.to(self.fabric.device), reduce_op="sum")
        assert isinstance(summed, Tensor)
        return summed.cpu()

    def _batch(self, step: int) -> Batch:
        """Read this rank's share of a step of this epoch.

        Samples 2k and 2k + 1 are a pair that may exchange a rectangle: where one is another
        rank's or step's, it is read beside.
        """
        share = self.batch // self.fabric.world_size
        first = step * self.batch + self.fabric.global_rank * share
        numbers = list(range(first, first + share))
        chosen = self._rectangles(numbers)
        numbers += [n for even in chosen for n in (even, even + 1) if n not in numbers]
        views = [self._view(n) for n in numbers]
        batch = stack(views, self.inputs.tokens, self.inputs.pixels)
        for even, rectangle in chosen.items():
            one, other = numbers.index(even), numbers.index(even + 1)
            batch = exchange(batch, one, other, rectangle, self.snap)
        return batch.tiles(0, share)

    def _rectangles(self, numbers: list[int]) -> dict[int, Rectangle]:
        """Draw which pairs of these samples exchange what, by the pair's first sample."""
        width, height = (side // self.snap for side in self.seen)
        chosen = {}
        for even in sorted({n - n % 2 for n in numbers}):
            random = generator(self.seed + 2, self.epoch, even)
            if random.random() < self.options.cutmix:
                chosen[even] = random_rectangle(height, width, random)
        return chosen

    def _view(self, n: int) -> View:
        """Sample n of this epoch, in the variant and stain that it is seen in."""
        sample = self.sampler(self.epoch, n)
        slide = self.train_slides[sample.slide]
        random = generator(self.seed + 1, self.epoch, n)
        look = Appearance.draw(self.strength, random)
        variants = self.variants
        if self.inputs.tokens:
            assert slide.token_map is not None
            variants = slide.token_map.variants
        variant = variants[sample.variant]
        seen = replace(variant, appearance=variant.appearance.then(look))
        seed = int(random.integers(2**63))
        return View(
            slide, sample.tile, seen, sample.variant, self.options.token_dropout, random, seed
        )

    def _variants(self) -> list[Variant]:
        """What to draw from: the variants of the token maps, or any when pixels are read."""
        if self.inputs.tokens:
            maps = [slide.token_map for slide in self.train_slides if slide.token_map is not None]
            return min((token_map.variants for token_map in maps), key=len)
        jitter = self.options.augmentation.scale_jitter
        scales = [(1 + jitter) ** power for power in SCALE_POWERS] if jitter else [1.0]
        return [
            Variant(turn, scale) for scale in scales for turn in range(self.options.orientations)
        ]

    def _step(self, batch: Batch) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.options, self.step, self.steps)
        self.optimiser.zero_grad()
        total = 0.0
        for part in batch.split(self.parts):
            loss = self._loss(part) * (len(part.names) / len(batch.names))
            self._require_finite(loss, "loss", part)
            self.fabric.backward(loss)
            total += float(loss.detach())
        norm = self.fabric.clip_gradients(
            self.model, self.optimiser, max_norm=self.options.clip, error_if_nonfinite=False
        )
        self._require_finite(norm, "gradient", batch)
        self.optimiser.step()
        self._update_average()
        self.step += 1
        return total

    def _loss(self, batch: Batch) -> Tensor:
        target = torch.from_numpy(batch.target).to(self.fabric.device)
        known = torch.from_numpy(batch.known).to(self.fabric.device)
        tokens, rgb = self.inputs(batch.tokens, batch.rgb, self.fabric.device)
        leave_out(self.raw, self.options.channel_dropout, batch.seeds)
        logits = self.model(tokens, rgb, size=target.shape[2:])
        return dice_bce(logits, target, known)

    def _require_finite(self, value: Tensor | None, what: str, batch: Batch) -> None:
        if value is not None and not torch.isfinite(value):
            raise HolohistoError(
                "train",
                f"the {what} is not finite at step {self.step}",
                found="tiles " + ", ".join(batch.names),
                advice="look at these tiles, or lower train.learning_rate",
            )

    @torch.no_grad()
    def _update_average(self) -> None:
        """Move the average towards the weights, and its running statistics likewise."""
        decay = min(self.options.ema, (1 + self.step) / (10 + self.step))
        current = self.raw.state_dict()
        moved, towards = [], []
        for name, value in self.average.state_dict().items():
            if value.dtype.is_floating_point:
                moved.append(value)
                towards.append(current[name])
            else:
                value.copy_(current[name])
        # A few kernels on a GPU, not hundreds.
        torch._foreach_lerp_(moved, towards, 1 - decay)  # pyright: ignore

    def validate(self) -> float:
        """Return the mean over validation slides and known classes of the slide-level Dice."""
        if not self.val_slides:
            return float("nan")
        scores = torch.zeros(len(self.val_slides), len(self.val_slides[0].known))
        for place, slide in enumerate(self.val_slides):
            if place % self.fabric.world_size == self.fabric.global_rank:
                dice = slide_dice(
                    self.average, self.inputs, slide, self.tile, self.snap, self.fabric
                )
                scores[place] = torch.from_numpy(dice)
        if self.fabric.world_size > 1:
            scores = self._summed(scores)
        return float(scores.nanmean())

    def _save(self, path: Path, identity: str) -> None:
        if self.fabric.global_rank != 0:
            return
        names = (
            "epoch",
            "step",
            "losses",
            "reading",
            "computing",
            "best",
            "best_dice",
            "best_epoch",
        )
        state = {
            **{name: getattr(self, name) for name in names},
            "model": self.raw.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "random": torch.get_rng_state(),
            "rows": [asdict(row) for row in self.rows],
        }
        save_checkpoint(path, identity, state)

    def _resume(self, path: Path, identity: str) -> None:
        state = load_checkpoint(path, identity)
        if state is None:
            return
        self.raw.load_state_dict(state.pop("model"))
        self.average.load_state_dict(state.pop("average"))
        self.optimiser.load_state_dict(state.pop("optimiser"))
        torch.set_rng_state(state.pop("random"))
        self.rows = [EpochRow(**row) for row in state.pop("rows")]
        for name, value in state.items():
            setattr(self, name, value)
        logger.info("taking up the training after epoch %d, step %d", self.epoch, self.step)

    def _require_one_step(self, path: Path) -> None:
        """Look whether all ranks have taken up the same state."""
        ranks = self.fabric.world_size
        if ranks == 1:
            return
        steps = torch.zeros(ranks, dtype=torch.int64)
        steps[self.fabric.global_rank] = self.step
        steps = self._summed(steps).tolist()
        if len(set(steps)) > 1:
            raise HolohistoError(
                path,
                "the training's processes do not all see the same checkpoint",
                found=f"steps {steps}",
                advice="it must lie on a file system that all nodes share; if it does, run again",
            )


def fit_threshold(
    slides: list[TrainingSlide], classes: int, tile: tuple[int, int]
) -> ThresholdSegmenter:
    """Return the colour threshold with the best Dice on all foreground tiles of the slides."""
    histograms = Histograms(classes)
    parts = [(s, t) for s in slides for t in foreground_tiles(s.field, tile, 16)]
    for slide, tile_ in track(parts, len(parts), "threshold"):
        batch = stack([View(slide, tile_)], needs_tokens=False, needs_pixels=True)
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


def _require_shares(batch: int, ranks: int) -> None:
    if batch % ranks:
        raise HolohistoError(
            "train.batch",
            "cannot be shared out evenly",
            found=f"{batch} tiles a step over {ranks} devices",
            allowed="a multiple of the devices",
        )


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
