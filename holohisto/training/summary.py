"""Facts of a training that its segmenter file keeps."""

import math
from typing import Any

from torch import Tensor

from holohisto.segmenter.baselines.threshold import ThresholdSegmenter
from holohisto.training.trainer import Trainer


def kept_weights(trainer: Trainer) -> dict[str, Tensor]:
    """Return the averaged weights of the best epoch; without validation, those of the last."""
    return trainer.progress.best or trainer.average.model.state_dict()


def training_summary(trainer: Trainer) -> dict[str, Any]:
    """Return how a network was trained: steps, tiles, seconds, and its validation Dice."""
    progress, plan = trainer.progress, trainer.plan
    tiles = progress.step * plan.batch
    return {
        "epochs": progress.epoch,
        "steps": progress.step,
        "validation_dice": progress.best_dice if trainer.val_slides else None,
        "tile": plan.tile,
        "tiles_a_step": plan.batch,
        "tiles": tiles,
        "pixels": tiles * math.prod(plan.tile),
        "seconds": sum(row.read_seconds + row.step_seconds for row in progress.rows),
        "parameters": sum(p.numel() for p in trainer.raw_model.parameters()),
    }


def threshold_summary(model: ThresholdSegmenter, classes: int) -> dict[str, Any]:
    """Return how a colour threshold was fitted: a sentence per class."""
    rules = [model.describe(index) for index in range(classes)]
    return {"fitted": rules, "parameters": 2 * len(rules)}
