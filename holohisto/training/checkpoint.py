"""The state of a training in a file, so that it can be left at any step and taken up again."""

import logging
import struct
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from holohisto.runtime import atomic

logger = logging.getLogger(__name__)


def save_checkpoint(path: Path, identity: str, state: dict[str, Any]) -> None:
    """Write a state (tensors, numbers, texts, lists and dicts of them), atomically."""
    with atomic.replacing(path) as temporary:
        torch.save({"identity": identity, "state": state}, temporary)


def load_checkpoint(path: Path, identity: str) -> dict[str, Any] | None:
    """Return the state of the training with this identity; None when there is none."""
    if not path.is_file():
        return None
    try:
        file: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if file["identity"] == identity:
            return file["state"]
    except (RuntimeError, KeyError, TypeError, EOFError, struct.error, UnpicklingError):
        pass
    logger.warning("%s is of another training; starting anew", path)
    return None
