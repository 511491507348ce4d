"""Segmenter files: weights in safetensors, with everything needed to use them in the header."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from holohisto.config.models import HolohistoModel, ModelOptions, PixelModel
from holohisto.device import Precision
from holohisto.errors import HolohistoError
from holohisto.runtime import atomic
from holohisto.segmenter.baselines.pixels import PixelSegmenter
from holohisto.segmenter.baselines.threshold import ThresholdSegmenter
from holohisto.segmenter.holohisto.model import HolohistoSegmenter

FORMAT = "holohisto-segmenter-6"
Network = HolohistoSegmenter | PixelSegmenter
"""A segmenter that is trained step by step."""
Segmenter = Network | ThresholdSegmenter


@dataclass(frozen=True)
class ModelCard:
    """Everything in a segmenter file besides its weights."""

    name: str
    options: ModelOptions
    classes: tuple[str, ...]
    mpp: float
    """Working resolution of the training, micrometres per pixel."""
    tile: tuple[int, int]
    """Width and height of a training tile, working pixels."""
    tokenizer: str | None
    """Digest of the tokenizer whose tokens it reads; None if it reads pixels only."""
    downscale: int
    """Side of a token, or of a square that is embedded linearly, pixels; 1 for other networks."""
    mode: str
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
    with atomic.replacing(path) as temporary:
        save_file(state, temporary, metadata=header)


def load_segmenter(path: Path) -> tuple[Segmenter, ModelCard, str]:
    """Read a segmenter in evaluation mode, its card and the SHA-256 of its weights.

    Raises:
        HolohistoError: the file is missing, of another format, or damaged: its weights do not match
            the digest in its header.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header, names = file.metadata() or {}, file.keys()
            state = {name: file.get_tensor(name) for name in names}
        if header.get("format") != FORMAT:
            raise HolohistoError(
                path,
                "is not a HoloHisto segmenter of this version",
                found=header.get("format", "no format in the header"),
                allowed=FORMAT,
                advice="train it with this version",
            )
        card = _card(header)
        model = build_segmenter(
            card.options, state.get("codebook"), card.downscale, len(card.classes)
        )
        model.load_state_dict(state)
    except (OSError, SafetensorError, ValidationError, RuntimeError, KeyError) as error:
        raise HolohistoError(path, f"segmenter cannot be read: {error}") from error
    if header.get("digest") != _digest(state):
        raise HolohistoError(path, "segmenter is damaged: its weights do not match its digest")
    return model.eval().requires_grad_(False), card, header["digest"]


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
        mode=header["mode"],
        precision=TypeAdapter(Precision | None).validate_python(header["precision"] or None),
        summary=json.loads(header["summary"]),
    )


def _digest(state: dict[str, torch.Tensor]) -> str:
    sha = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        sha.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return sha.hexdigest()
