"""The tokenizer file: weights and architecture in safetensors, with a digest."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from holohisto.config.fields import first_mistake
from holohisto.errors import HolohistoError
from holohisto.runtime import atomic
from holohisto.runtime.seal import require_header, sealed_header
from holohisto.runtime.tensor_file import read_header
from holohisto.tokenizer.architecture import Architecture
from holohisto.tokenizer.vqgan import USAGE, VQGAN

FORMAT = "holohisto-tokenizer-4"


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
    header = sealed_header(header, *(_bytes(state[name]) for name in sorted(state)))
    with atomic.replacing(path) as temporary:
        save_file(state, temporary, metadata=header)


def load_tokenizer(path: Path) -> VQGAN:
    """Read a tokenizer file, in evaluation state and with native statistics.

    Raises:
        HolohistoError: not a tokenizer file, or its weights do not match its digest.
    """
    header = read_header(path, "tokenizer", FORMAT)
    try:
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        require_header(path, header, *(_bytes(state[name]) for name in sorted(state)))
        architecture = Architecture.model_validate_json(header["architecture"])
        with torch.device("meta"):
            expected = {name: w.shape for name, w in VQGAN(architecture).state_dict().items()}
        if USAGE[0] in state:
            expected |= zip(USAGE, (torch.Size([architecture.codebook]), torch.Size()), strict=True)
        if {name: weight.shape for name, weight in state.items()} != expected:
            raise HolohistoError(path, "tokenizer cannot be read: weights of another architecture")
        model = VQGAN(architecture)
        model.usage, model.order_z = (state.get(known) for known in USAGE)
        model.load_state_dict(state)
    except (OSError, SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise HolohistoError(path, f"tokenizer cannot be read: {first_mistake(error)}") from error
    if tokenizer_digest(model) != header.get("digest"):
        raise HolohistoError(path, "tokenizer is damaged: its weights do not match its digest")
    return model.eval().requires_grad_(False)


def _bytes(tensor: Tensor) -> memoryview:
    """The bytes of a tensor of any shape and type."""
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data
