"""Reading the tensors of checkpoint files without running code that they hold."""

import pickle
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from holohisto.errors import HolohistoError

RECORDS = (
    "argparse.",
    "builtins.bool",
    "builtins.dict",
    "builtins.float",
    "builtins.int",
    "builtins.list",
    "builtins.str",
    "builtins.tuple",
    "collections.defaultdict",
    "lightning.",
    "numpy.",
    "omegaconf.",
    "pathlib.",
    "pytorch_lightning.",
    "typing.",
)
"""Prefixes of classes that Lightning stores beside the weights: callbacks, schedules, options."""


class Inert:
    """Stands in for an object of the training records: accepts any arguments, does nothing."""

    def __init__(self, *_: Any) -> None:
        """Ignore the arguments."""

    def __setstate__(self, _: Any) -> None:
        """Ignore the state."""


def read(path: Path) -> dict[str, Tensor]:
    """Read the weights by name: of a safetensors file, a Lightning checkpoint or a plain state.

    In a checkpoint with other entries, the weights are those in `state_dict`, or in `model`.

    Raises:
        HolohistoError: damaged, no weights, or a pickle that asks for anything but tensors and
            training records; nothing of it was run.
    """
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (OSError, SafetensorError) as error:
            raise HolohistoError(path, f"weights cannot be read: {error}") from error
    content = _unpickle(path)
    state = content
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            state = content[key]
            break
    if not isinstance(state, dict) or not state:
        raise HolohistoError(path, "holds no weights by name", found=type(state).__name__)
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise HolohistoError(
                path,
                f"holds something other than weights, under {name}",
                found=type(value).__name__,
            )
    return dict(state)


def _unpickle(path: Path) -> Any:
    """Unpickle by torch's own closed list of functions, training records made inert.

    An inert class stands under each record's name, so that nothing is looked up by that name. All
    other names that torch does not know are refused, and so is whatever it cannot follow.
    """
    inert: list[Any] = [(type("Inert", (Inert,), {}), name) for name in _record_names(path)]
    try:
        with safe_globals(inert):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        asked = re.findall(r"GLOBAL (\S+)", str(error))
        raise HolohistoError(
            path,
            "is refused: it asks for code, not for weights alone; nothing of it was run",
            found=asked[0] if asked else None,
            advice="if you trust it, keep its weights alone: torch.save(torch.load(FILE,"
            " weights_only=False)['state_dict'], FILE)",
        ) from error
    except Exception as error:  # a damaged pickle can end in any of them
        reason = str(error).split(". ")[0]  # torch goes on to what may have caused it
        raise HolohistoError(path, f"weights cannot be read: {reason}") from error


def _record_names(path: Path) -> list[str]:
    """List the training records' classes; none where torch cannot list names without loading."""
    try:
        return [n for n in get_unsafe_globals_in_checkpoint(path) if n.startswith(RECORDS)]
    except Exception:  # no zip file, or a damaged one: loading reports the error
        return []
