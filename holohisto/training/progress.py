"""How far a training has come: its table, the current epoch, and the best one."""

import copy
import os
from dataclasses import dataclass, field

import numpy as np
import psutil
import torch
from torch import Tensor, nn


@dataclass
class EpochRow:
    """A row of a model's training table."""

    epoch: int
    """Epochs completed, from 1."""
    step: int
    """Steps completed."""
    loss: float
    """Mean over the steps of the epoch."""
    learning_rate: float
    """Learning rate of the epoch's last step."""
    val_dice: float
    """Mean Dice of the validation slides; NaN in an epoch without validation."""
    read_seconds: float
    """Time spent waiting for tiles."""
    step_seconds: float
    """Time spent computing steps."""
    memory_mb: float
    """Peak memory of the GPU, or resident memory of the process on a CPU, MiB."""


@dataclass
class Progress:
    """How far a training has come, apart from weights, optimiser and random state."""

    epoch: int = 0
    """Epochs completed."""
    step: int = 0
    """Steps completed."""
    losses: list[float] = field(default_factory=list)
    """Losses of the current epoch's steps."""
    reading: float = 0.0
    """Seconds that the current epoch has waited for tiles."""
    computing: float = 0.0
    """Seconds that the current epoch has spent in steps."""
    best: dict[str, Tensor] = field(default_factory=dict)
    """Averaged weights of the epoch with the best validation Dice; empty before the first."""
    best_dice: float = -1.0
    best_epoch: int = 0
    rows: list[EpochRow] = field(default_factory=list)
    """The training table, a row per completed epoch."""

    def keep_best(self, dice: float, average: nn.Module) -> None:
        """Keep the averaged weights if their validation Dice is the best so far."""
        if dice >= self.best_dice:
            self.best_dice, self.best_epoch = dice, self.epoch
            self.best = copy.deepcopy(average.state_dict())

    def stale(self, patience: int) -> bool:
        """Return whether the last `patience` epochs brought no better Dice; 0 is no limit."""
        return patience > 0 and self.best_epoch > 0 and self.epoch - self.best_epoch >= patience

    def close_epoch(self, learning_rate: float) -> EpochRow:
        """Count an epoch whose steps are done; returns its row, without validation."""
        self.epoch += 1
        row = EpochRow(
            epoch=self.epoch,
            step=self.step,
            loss=float(np.mean(self.losses)),
            learning_rate=learning_rate,
            val_dice=float("nan"),
            read_seconds=self.reading,
            step_seconds=self.computing,
            memory_mb=_peak_memory_mb(),
        )
        self.losses, self.reading, self.computing = [], 0.0, 0.0
        return row


def _peak_memory_mb() -> float:
    """Return the peak memory of the GPU, or the resident memory of the process on a CPU, MiB."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return psutil.Process(os.getpid()).memory_info().rss / 2**20
