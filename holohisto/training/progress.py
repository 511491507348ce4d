"""How far a training has come: its table, and the best weights so far."""

import copy
import os
from dataclasses import dataclass, field

import numpy as np
import psutil
import torch
from torch import Tensor, nn


@dataclass
class ValidationRow:
    """A row of a model's training table: the steps up to a validation, and its result."""

    step: int
    """Steps completed."""
    loss: float
    """Mean over the steps since the row before."""
    learning_rate: float
    """Learning rate of the last step."""
    val_dice: float
    """Mean Dice of the classes over all validation slides; NaN without such slides."""
    read_seconds: float
    """Time spent waiting for tiles."""
    step_seconds: float
    """Time spent computing steps."""
    validation_seconds: float
    """Time of the validation."""
    memory_mb: float
    """Peak memory of the GPU, or resident memory of the process on a CPU, MiB."""

    @property
    def seconds(self) -> float:
        """Time of the steps and of the validation."""
        return self.read_seconds + self.step_seconds + self.validation_seconds


@dataclass
class Progress:
    """How far a training has come, apart from weights, optimiser and random state."""

    step: int = 0
    """Steps completed."""
    losses: list[float] = field(default_factory=list)
    """Losses of the steps since the last row."""
    reading: float = 0.0
    """Seconds that these steps have waited for tiles."""
    computing: float = 0.0
    """Seconds that these steps have taken."""
    best: dict[str, Tensor] = field(default_factory=dict)
    """Averaged weights with the best validation Dice; empty before the first validation."""
    best_dice: float = -1.0
    best_step: int = 0
    rows: list[ValidationRow] = field(default_factory=list)
    """The training table."""

    @property
    def validated(self) -> int:
        """Steps completed at the last validation."""
        return self.rows[-1].step if self.rows else 0

    def keep_best(self, dice: float, average: nn.Module) -> None:
        """Keep the averaged weights if their validation Dice is the best so far."""
        if dice >= self.best_dice:
            self.best_dice, self.best_step = dice, self.step
            self.best = copy.deepcopy(average.state_dict())

    def stale(self, patience: int) -> bool:
        """Return whether the last `patience` validations were no better; 0 is no limit."""
        since = sum(row.step > self.best_step for row in self.rows)
        return patience > 0 and self.best_step > 0 and since >= patience

    def close_row(self, learning_rate: float) -> ValidationRow:
        """Start a new row; returns that of the steps since the last one, without validation."""
        row = ValidationRow(
            step=self.step,
            loss=float(np.mean(self.losses)),
            learning_rate=learning_rate,
            val_dice=float("nan"),
            read_seconds=self.reading,
            step_seconds=self.computing,
            validation_seconds=0.0,
            memory_mb=_peak_memory_mb(),
        )
        self.losses, self.reading, self.computing = [], 0.0, 0.0
        return row


def _peak_memory_mb() -> float:
    """Return the peak memory of the GPU, or the resident memory of the process on a CPU, MiB."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return psutil.Process(os.getpid()).memory_info().rss / 2**20
