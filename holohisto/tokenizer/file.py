"""The tokenizer file: weights and architecture in safetensors, with a digest."""

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from holohisto.errors import HolohistoError
from holohisto.runtime import atomic
from holohisto.tokenizer.architecture import Architecture
from holohisto.tokenizer.vqgan import VQGAN

FORMAT = "holohisto-tokenizer-3"


def tokenizer_digest(model: VQGAN) -> str:
    """Return the sha256 of architecture, encoder and codes: all that affects tokens."""
    architecture = model.architecture.model_dump_json(exclude_defaults=True)
    sha = hashlib.sha256(architecture.encode())
    for name, tensor in sorted(model.state_dict().items()):
        if not name.startswith(("decoder.", "post_quant_conv.")):
            sha.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()


def save_tokenizer(model: VQGAN, path: Path, summary: dict[str, Any]) -> None:
    """Write the tokenizer file, atomically.

    Args:
        model: In any state; its weights are written from the CPU.
        path: File to write.
        summary: Provenance, for JSON.
    """
    header = {
        "format": FORMAT,
        "architecture": model.architecture.model_dump_json(),
        "digest": tokenizer_digest(model),
        "summary": json.dumps(summary),
    }
    state = {
        name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()
    }
    with atomic.replacing(path) as temporary:
        save_file(state, temporary, metadata=header)


def load_tokenizer(path: Path) -> VQGAN:
    """Read a tokenizer file, in evaluation state and with native statistics.

    Raises:
        HolohistoError: not a tokenizer file, or its weights do not match its digest.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise HolohistoError(
                    path,
                    "is not a HoloHisto tokenizer",
                    found=header.get("format", "no format in the header"),
                    allowed=FORMAT,
                )
            model = VQGAN(Architecture.model_validate_json(header["architecture"]))
            model.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (OSError, SafetensorError, ValidationError, RuntimeError) as error:
        raise HolohistoError(path, f"tokenizer cannot be read: {error}") from error
    if tokenizer_digest(model) != header.get("digest"):
        raise HolohistoError(path, "tokenizer is damaged: its weights do not match its digest")
    return model.eval().requires_grad_(False)
