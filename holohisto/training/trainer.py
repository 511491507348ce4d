"""Training a segmenter: random tiles, Dice and cross-entropy, the best by validation Dice."""

import logging
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor

from holohisto.config.training import TrainOptions
from holohisto.errors import HolohistoError
from holohisto.runtime.prefetch import prefetch
from holohisto.runtime.progress import track
from holohisto.runtime.stop import Interruption
from holohisto.segmenter.file import Network
from holohisto.segmenter.holohisto.channel_dropout import leave_out
from holohisto.segmenter.holohisto.checkpointing import statistics_untouched
from holohisto.segmenter.inputs import Inputs, TileEncoder
from holohisto.tiles.randomness import Purpose, generator
from holohisto.training.average import WeightAverage
from holohisto.training.batches import Batches, DrawnBatch
from holohisto.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from holohisto.training.loss import dice_bce, pixel_sums
from holohisto.training.prior import prior_shift
from holohisto.training.progress import Progress, ValidationRow
from holohisto.training.ranks import require_one_step, sum_over_ranks
from holohisto.training.recipe import recipe_of, set_learning_rate
from holohisto.training.schedule import StepPlan
from holohisto.training.slides import Batch, TrainingSlide
from holohisto.training.synchronised_norm import synchronise_norms
from holohisto.training.validation import Validation

SAVE_SECONDS = 600
"""Time between two checkpoints, besides those after each validation."""
logger = logging.getLogger(__name__)


class Trainer:
    """A training run that may be interrupted at any step: resumed, it is the same bit for bit.

    Bit for bit on a CPU. Under several ranks each computes its share of every step's tiles; sums
    are over all ranks, so that the result is that of a single rank but for rounding.
    """

    def __init__(
        self,
        model: Network,
        train: list[TrainingSlide],
        val: list[TrainingSlide],
        options: TrainOptions,
        seed: int,
        fabric: Fabric,
        workers: int = 2,
        encoder: TileEncoder | None = None,
        kept_bytes: int = 10**9,
    ) -> None:
        """Prepare batches, optimiser and average.

        Args:
            model: The network, with its initial weights.
            train: Slides to learn from.
            val: Slides that choose the best weights; none: the last are kept.
            options: The training options.
            seed: Seed of all random numbers.
            fabric: Device, precision and ranks; launched.
            workers: Threads that read tiles.
            encoder: Encodes each tile in mode `online`; None in the other modes.
            kept_bytes: Bytes of validation tiles that are kept in memory.
        """
        self.options, self.seed, self.fabric, self.workers = options, seed, fabric, workers
        self.inputs = Inputs(model, encoder)
        areas = [slide.area for slide in train]
        self.plan = StepPlan.of(model, areas, options, fabric.world_size)
        self.batches = Batches(train, self.inputs, self.plan, options, seed, fabric.global_rank)
        self.validation = Validation(
            val,
            self.inputs,
            model.tile or options.tile,
            self.plan.snap,
            fabric,
            workers,
            self.plan.validation_tiles,
            kept_bytes,
        )
        model.prior.shift.copy_(torch.from_numpy(prior_shift(train, self.batches.sampler)))
        if fabric.world_size > 1:
            synchronise_norms(model)
        self.recipe = recipe_of(model, options)
        optimiser = self.recipe.optimiser(model)
        self.raw_model = model
        self.model, self.optimiser = fabric.setup(model, optimiser)
        self.average = WeightAverage(model, options.ema)
        self.progress = Progress()
        self.interruption = Interruption()

    def run(self, checkpoint: Path, identity: str) -> Iterator[list[ValidationRow]]:
        """Train to the end, yielding the training table after every validation.

        The state is written to `checkpoint` after every validation, every ten minutes and on
        SIGTERM or SIGUSR1. A checkpoint with the same `identity` is resumed.

        Raises:
            HolohistoError: the ranks see different checkpoints, or a loss or gradient that is not
                finite.
            SystemExit: after a signal, with the exit status 128 + its number.
        """
        self._resume(checkpoint, identity)
        require_one_step(self.fabric, self.progress.step, checkpoint)
        save = partial(self._save, checkpoint, identity)
        progress = self.progress
        if progress.rows:
            yield progress.rows
        while not self._finished():
            row = self._steps(save)
            start = time.monotonic()
            row.val_dice = self.validate()
            row.validation_seconds = time.monotonic() - start
            progress.keep_best(row.val_dice, self.average.model)
            progress.rows.append(row)
            logger.info(
                "step %d/%d: loss %.4f, validation Dice %.4f, %.1f s reading, %.1f s steps, %.1f s"
                " validation",
                progress.step,
                self.options.steps,
                row.loss,
                row.val_dice,
                row.read_seconds,
                row.step_seconds,
                row.validation_seconds,
            )
            save()
            yield progress.rows

    def _steps(self, save: Callable[[], None]) -> ValidationRow:
        """Run the remaining steps before the next validation."""
        self.model.train()
        progress = self.progress
        end = min(self.options.steps, progress.validated + self.options.validate_every)
        steps = range(progress.step, end)
        batches = prefetch(self.batches.read, steps, self.workers, self.workers)
        name = f"up to step {end} of {self.options.steps}"
        mark = saved = time.monotonic()
        with self.interruption.awaited():
            for batch in track(batches, len(steps), name, unit="step"):
                start = time.monotonic()
                progress.reading += start - mark
                progress.losses.append(self.step(batch))
                mark = time.monotonic()
                progress.computing += mark - start
                if self._interrupted():
                    self._save_and_exit(save)
                if mark - saved > SAVE_SECONDS:
                    save()
                    saved = mark
        return progress.close_row(self.optimiser.param_groups[0]["lr"])

    def step(self, drawn: DrawnBatch) -> float:
        """Take one optimiser step on this rank's tiles; returns their loss."""
        batch = drawn.on(self.fabric.device)
        step = self.progress.step
        # The networks' own dropout, too, is the same after an interruption.
        torch.manual_seed(int(generator(self.seed, Purpose.NETWORK, step).integers(2**63)))
        set_learning_rate(self.optimiser, self.recipe.learning_rate(step))
        self.optimiser.zero_grad()
        loss = self._backward(batch)
        norm = self.fabric.clip_gradients(
            self.model, self.optimiser, max_norm=self.recipe.clip, error_if_nonfinite=False
        )
        self._require_finite(norm, "gradient", batch)
        self.optimiser.step()
        self.average.update(self.raw_model, step)
        self.progress.step += 1
        return loss

    def _backward(self, batch: Batch) -> float:
        """Accumulate the gradient of the loss of a step, however it is split; return the loss.

        Dice of all tiles together is no mean of those of micro-batches. So the sums of all of them
        are computed first, without gradients.
        """
        micro_batches = batch.split(self.plan.micro_batches)
        total = self._sums_of_all(micro_batches) if len(micro_batches) > 1 else None
        loss = torch.zeros(())
        for micro_batch in micro_batches:
            own = self.sums(micro_batch)
            # The value of the step, the gradient of the micro-batch.
            sums = own if total is None else own + (total - own.detach())
            loss = dice_bce(sums, self.recipe.head_weights)
            self._require_finite(loss, "loss", micro_batch)
            self.fabric.backward(loss)
        return float(loss.detach())

    @torch.no_grad()
    def _sums_of_all(self, micro_batches: list[Batch]) -> Tensor:
        """Return the sums of all micro-batches; statistics and random state are left untouched."""
        device = self.fabric.device
        devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices), statistics_untouched(self.raw_model):
            return torch.stack([self.sums(each) for each in micro_batches]).sum(dim=0)

    def sums(self, batch: Batch) -> Tensor:
        """Return the sums (5, outputs * C) of a batch, from which its loss follows."""
        target = torch.from_numpy(batch.target).to(self.fabric.device)
        known = torch.from_numpy(batch.known).to(self.fabric.device)
        tokens, rgb = self.inputs(batch.tokens, batch.rgb, self.fabric.device)
        leave_out(self.raw_model, self.options.channel_dropout, batch.seeds)
        logits = self.model(tokens, rgb, size=target.shape[2:])
        return pixel_sums(logits, target, known)

    def validate(self) -> float:
        """Return the Dice of the averaged weights; NaN without slides to validate on."""
        return self.validation.mean_dice(self.average.model)

    def _finished(self) -> bool:
        """Return whether all steps are done, or `patience` validations brought no better Dice."""
        patience = self.options.patience
        if self.progress.validated >= self.options.steps:
            return True
        if self.progress.stale(patience):
            logger.info("no better Dice in %d validations: stopping", patience)
            return True
        return False

    def _interrupted(self) -> bool:
        """Return whether this or another rank has received a signal to stop."""
        received = self.interruption.number is not None
        if self.fabric.world_size == 1:
            return received
        anywhere = bool(sum_over_ranks(self.fabric, torch.tensor(float(received))) > 0)
        if anywhere and not received:
            self.interruption.number = signal.SIGTERM
        return anywhere

    def _save_and_exit(self, save: Callable[[], None]) -> None:
        save()
        self.fabric.barrier()  # a rank that exits may take the others with it
        name = signal.Signals(self.interruption.number or signal.SIGTERM).name
        logger.info("received %s: saved after step %d", name, self.progress.step)
        self.interruption.end()

    def _require_finite(self, value: Tensor | None, what: str, batch: Batch) -> None:
        if value is not None and not torch.isfinite(value):
            raise HolohistoError(
                "train",
                f"the {what} is not finite at step {self.progress.step}",
                found="tiles " + ", ".join(batch.names),
                advice="look at these tiles, or lower train.learning_rate",
            )

    def _save(self, path: Path, identity: str) -> None:
        if self.fabric.global_rank != 0:
            return
        checkpoint = Checkpoint(
            self.progress,
            self.raw_model.state_dict(),
            self.average.model.state_dict(),
            self.optimiser.state_dict(),
        )
        save_checkpoint(path, identity, checkpoint)

    def _resume(self, path: Path, identity: str) -> None:
        checkpoint = load_checkpoint(path, identity)
        if checkpoint is None:
            return
        self.progress = checkpoint.progress
        self.raw_model.load_state_dict(checkpoint.model)
        self.average.model.load_state_dict(checkpoint.average)
        self.optimiser.load_state_dict(checkpoint.optimiser)
        logger.info("resuming after step %d", self.progress.step)
