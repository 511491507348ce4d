"""The full state of a training in a file, from which it resumes at any step."""

import logging
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from holohisto.runtime import atomic
from holohisto.training.progress import Progress, ValidationRow

logger = logging.getLogger(__name__)


@dataclass
class Checkpoint:
    """Everything that a training needs to resume."""

    progress: Progress
    model: dict[str, Tensor]
    average: dict[str, Tensor]
    optimiser: dict[str, Any]


def save_checkpoint(path: Path, identity: str, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, atomically; `identity` names the training that may resume from it."""
    progress = checkpoint.progress
    state = {
        **vars(progress),
        "rows": [asdict(row) for row in progress.rows],
        "model": checkpoint.model,
        "average": checkpoint.average,
        "optimiser": checkpoint.optimiser,
    }
    with atomic.replacing(path) as temporary:
        torch.save({"identity": identity, "state": state}, temporary)


def load_checkpoint(path: Path, identity: str) -> Checkpoint | None:
    """Return the checkpoint of the training with this identity, with tensors on the CPU.

    Returns:
        None if there is no file, or (with a warning) if it is damaged or of another training.
    """
    if not path.is_file():
        return None
    try:
        _require_intact(path)
        file: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if file["identity"] == identity:
            return _checkpoint(file["state"])
    except Exception as error:  # a damaged file can end in any of them
        logger.debug("%s: %s", path, error)
    logger.warning("%s is damaged or of another training: starting from scratch", path)
    return None


def _require_intact(path: Path) -> None:
    """Check the CRC-32 that torch stores of every tensor, but does not compare itself."""
    with zipfile.ZipFile(path) as archive:
        if damaged := archive.testzip():
            raise zipfile.BadZipFile(damaged)


def _checkpoint(state: dict[str, Any]) -> Checkpoint:
    progress = Progress(
        step=state["step"],
        losses=state["losses"],
        reading=state["reading"],
        computing=state["computing"],
        best=state["best"],
        best_dice=state["best_dice"],
        best_step=state["best_step"],
        rows=[ValidationRow(**row) for row in state["rows"]],
    )
    return Checkpoint(progress, state["model"], state["average"], state["optimiser"])
