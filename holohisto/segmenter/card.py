"""The header of a segmenter file: everything besides its weights; without torch."""

import hashlib
import json
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import numpy as np
from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass
from safetensors import SafetensorError, safe_open

from holohisto.config.fields import NAME, Mpp, Pixels, Precision, first_mistake
from holohisto.config.models import (
    DynunetModel,
    ModelOptions,
    SwinunetrModel,
    UnetModel,
    reads_tokens,
)
from holohisto.errors import HolohistoError
from holohisto.runtime.seal import require_header, sealed_header
from holohisto.runtime.tensor_file import read_header

FORMAT = "holohisto-segmenter-7"
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
    """Facts of the training: steps, seconds, validation Dice, pretrained weights."""


def header_of(card: ModelCard, digest: str) -> dict[str, str]:
    """Return the header that holds a card and the digest of the weights."""
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
        "digest": digest,
        "summary": json.dumps(card.summary),
    }
    return sealed_header(header)


def load_card(path: Path) -> ModelCard:
    """Read the card of a segmenter, without its weights.

    Raises:
        HolohistoError: the file is missing, of another format, or its header is damaged.
    """
    header = read_header(path, "segmenter", FORMAT, "train it with this version")
    require_header(path, header)
    try:
        return _card(header)
    except (ValueError, KeyError, TypeError) as error:
        raise HolohistoError(path, f"segmenter cannot be read: {first_mistake(error)}") from error


def load_weights(path: Path) -> tuple[dict[str, np.ndarray], ModelCard, str]:
    """Read the weights of a segmenter, its card and the SHA-256 of the weights.

    Raises:
        HolohistoError: the file is missing, of another format, or damaged: its weights do not match
            the digest in its header.
    """
    header = read_header(path, "segmenter", FORMAT, "train it with this version")
    require_header(path, header)
    try:
        with safe_open(path, framework="numpy") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        card = _card(header)
        _require_weights(card, state, path)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise HolohistoError(path, f"segmenter cannot be read: {first_mistake(error)}") from error
    if header.get("digest") != digest_of(state):
        raise HolohistoError(path, "segmenter is damaged: its weights do not match its digest")
    return state, card, header["digest"]


def _require_weights(card: ModelCard, state: dict[str, np.ndarray], path: Path) -> None:
    """Check, before a network is built, that the file can hold the weights of its options."""
    if reads_tokens(card.options) and state.get("codebook", np.zeros(0)).ndim != 2:
        raise HolohistoError(path, "segmenter cannot be read: it has no codebook")
    widths: tuple[int, ...] = ()
    if isinstance(card.options, UnetModel | DynunetModel):
        widths = card.options.channels
    elif isinstance(card.options, SwinunetrModel):
        widths = (card.options.channels, card.options.channels)
    least = sum(a * b for a, b in pairwise(widths))
    found = sum(array.size for array in state.values())
    if found < least:
        raise HolohistoError(
            path,
            "segmenter cannot be read: it has fewer weights than its options need",
            found=found,
            allowed=f"{least} at least",
        )


def digest_of(state: dict[str, np.ndarray]) -> str:
    """Return the SHA-256 of weights and their names."""
    sha = hashlib.sha256()
    for name, array in sorted(state.items()):
        sha.update(name.encode())
        sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()


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
