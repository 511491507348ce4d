"""Segmenter files: weights in safetensors, with everything needed to use them in the header."""

import hashlib
import json
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import torch
from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from holohisto.config.fields import NAME, Mpp, Pixels
from holohisto.config.models import (
    DynunetModel,
    HolohistoModel,
    ModelOptions,
    PixelModel,
    SwinunetrModel,
    UnetModel,
    reads_tokens,
)
from holohisto.device import Precision
from holohisto.errors import HolohistoError
from holohisto.runtime import atomic
from holohisto.runtime.seal import require_header, sealed_header
from holohisto.runtime.tensor_file import read_header
from holohisto.segmenter.baselines.pixels import PixelSegmenter
from holohisto.segmenter.baselines.threshold import ThresholdSegmenter
from holohisto.segmenter.holohisto.model import HolohistoSegmenter

FORMAT = "holohisto-segmenter-7"
Network = HolohistoSegmenter | PixelSegmenter
"""A segmenter that is trained step by step."""
Segmenter = Network | ThresholdSegmenter


Name = Annotated[str, Field(pattern=NAME.pattern)]


@dataclass(frozen=True)
class ModelCard:
    """Everything in a segmenter file besides its weights."""

    name: Name
    options: ModelOptions
    classes: Annotated[tuple[Name, ...], Field(min_length=1, max_length=8)]
    mpp: Mpp
    """Working resolution of the training, micrometres per pixel."""
    tile: Pixels
    """Width and height of a training tile, working pixels."""
    tokenizer: str | None
    """Digest of the tokenizer whose tokens it reads; None if it reads pixels only."""
    downscale: Annotated[int, Field(ge=1, le=64)]
    """Side of a token, or of a square that is embedded linearly, pixels; 1 for other networks."""
    mode: Literal["frozen", "window", "online"]
    """`tokens.mode` of the training."""
    precision: Precision | None
    """Precision of the encoder of the tokens of the training; None if it reads pixels only."""
    summary: dict[str, Any]
    """Facts of the training: epochs, steps, seconds, validation Dice, pretrained weights."""


def build_segmenter(
    options: ModelOptions, codebook: Tensor | None, downscale: int, classes: int
) -> Segmenter:
    """Build a segmenter with random weights, or an unfitted colour threshold.

    Args:
        options: Kind and size of the model.
        codebook: (K, d), the tokenizer's codes; None for models that read no tokens.
        downscale: Side of a token, pixels.
        classes: Number of classes.
    """
    if isinstance(options, HolohistoModel):
        return HolohistoSegmenter(options, codebook, downscale, classes)
    if isinstance(options, PixelModel):
        return PixelSegmenter(options, classes)
    return ThresholdSegmenter(classes)


def save_segmenter(state: dict[str, Tensor], card: ModelCard, path: Path) -> None:
    """Write a segmenter file, atomically."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    header = {
        "format": FORMAT,
        "name": card.name,
        "options": card.options.model_dump_json(),
        "classes": json.dumps(card.classes),
        "mpp": repr(card.mpp),
        "tile": json.dumps(card.tile),
        "tokenizer": card.tokenizer or "",
        "downscale": str(card.downscale),
        "mode": card.mode,
        "precision": card.precision or "",
        "digest": _digest(state),
        "summary": json.dumps(card.summary),
    }
    header = sealed_header(header)
    with atomic.replacing(path) as temporary:
        save_file(state, temporary, metadata=header)


def load_segmenter(path: Path) -> tuple[Segmenter, ModelCard, str]:
    """Read a segmenter in evaluation mode, its card and the SHA-256 of its weights.

    Raises:
        HolohistoError: the file is missing, of another format, or damaged: its weights do not match
            the digest in its header.
    """
    header = read_header(path, "segmenter", FORMAT, "train it with this version")
    require_header(path, header)
    try:
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        card = _card(header)
        _require_weights(card, state, path)
        model = build_segmenter(
            card.options, state.get("codebook"), card.downscale, len(card.classes)
        )
        model.load_state_dict(state)
    except (OSError, SafetensorError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise HolohistoError(path, f"segmenter cannot be read: {error}") from error
    if header.get("digest") != _digest(state):
        raise HolohistoError(path, "segmenter is damaged: its weights do not match its digest")
    return model.eval().requires_grad_(False), card, header["digest"]


def _require_weights(card: ModelCard, state: dict[str, Tensor], path: Path) -> None:
    """Check, before a network is built, that the file can hold the weights of its options."""
    if reads_tokens(card.options) and state.get("codebook", torch.zeros(0)).ndim != 2:
        raise HolohistoError(path, "segmenter cannot be read: it has no codebook")
    widths: tuple[int, ...] = ()
    if isinstance(card.options, UnetModel | DynunetModel):
        widths = card.options.channels
    elif isinstance(card.options, SwinunetrModel):
        widths = (card.options.channels, card.options.channels)
    least = sum(a * b for a, b in pairwise(widths))
    found = sum(tensor.numel() for tensor in state.values())
    if found < least:
        raise HolohistoError(
            path,
            "segmenter cannot be read: it has fewer weights than its options need",
            found=found,
            allowed=f"{least} at least",
        )


def _card(header: dict[str, str]) -> ModelCard:
    width, height = json.loads(header["tile"])
    return ModelCard(
        name=header["name"],
        options=TypeAdapter(ModelOptions).validate_json(header["options"]),
        classes=tuple(json.loads(header["classes"])),
        mpp=float(header["mpp"]),
        tile=(width, height),
        tokenizer=header["tokenizer"] or None,
        downscale=int(header["downscale"]),
        mode=cast(Any, header["mode"]),
        precision=TypeAdapter(Precision | None).validate_python(header["precision"] or None),
        summary=json.loads(header["summary"]),
    )


def _digest(state: dict[str, torch.Tensor]) -> str:
    sha = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        sha.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return sha.hexdigest()
