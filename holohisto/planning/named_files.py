"""Files of trained networks that a configuration names."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from holohisto.config.config import Config
from holohisto.config.models import ModelOptions
from holohisto.config.starter import located
from holohisto.errors import HolohistoError


def pretrained_of(model: ModelOptions) -> Path | None:
    """Return the file whose weights the training of a model starts from."""
    path: Path | None = getattr(model, "pretrained", None)
    return located(path, "segmenter") if path else None


def weights_of(model: ModelOptions) -> Path | None:
    """Return the file of a trained segmenter that is used as it is."""
    return located(model.weights, "segmenter") if model.weights else None


def checkpoint_of(settings: Config) -> Path | None:
    """Return the file or folder of the given tokenizer."""
    path = settings.tokenizer.checkpoint
    return located(path, "tokenizer") if path else None


def missing(settings: Config) -> Iterator[str]:
    """Yield a line for each of these files that does not exist."""
    named: list[tuple[str, Path | None, Literal["tokenizer", "segmenter"]]] = [
        (f"models.{name}.{key}", getattr(model, key, None), "segmenter")
        for name, model in settings.computed.items()
        for key in ("weights", "pretrained")
    ]
    named.append(("tokenizer.checkpoint", settings.tokenizer.checkpoint, "tokenizer"))
    for key, path, file in named:
        try:
            if path and not located(path, file).exists():
                yield f"config: {key}: no such file: {path}"
        except HolohistoError as error:
            yield f"config: {key}: {error}"
