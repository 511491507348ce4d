"""Whether segmenters that a configuration names suit it; read from their cards, without torch."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from holohisto.config import checkpoint_files
from holohisto.config.config import Config
from holohisto.config.models import HolohistoModel, ModelOptions
from holohisto.config.starter import located
from holohisto.errors import HolohistoError
from holohisto.runtime.results import Results
from holohisto.runtime.tensor_file import read_metadata
from holohisto.segmenter import requirements
from holohisto.segmenter.card import load_card

NEW = "one that this run trains"


def mistakes(settings: Config, results: Results) -> list[str]:
    """Return a line for each `weights` and `pretrained` of a model that does not suit the run.

    Files that do not exist are left out; `planning.named_files` reports them.

    Args:
        settings: The configuration.
        results: The run, which may have a tokenizer already.
    """
    found = []
    for name, model in settings.computed.items():
        for key, path in _segmenters(model):
            if (file := _existing(path, "segmenter")) is None:
                continue
            try:
                _require(f"config: models.{name}.{key}", file, model, settings, results)
            except HolohistoError as error:
                found.append(str(error))
    return found


def _existing(path: Path, file: Literal["tokenizer", "segmenter"]) -> Path | None:
    with contextlib.suppress(HolohistoError):
        path = located(path, file)
    return path if path.exists() else None


def _segmenters(model: ModelOptions) -> Iterator[tuple[str, Path]]:
    if model.weights:
        yield "weights", model.weights
    if isinstance(model, HolohistoModel) and model.pretrained:
        yield "pretrained", model.pretrained


def _require(
    where: str, file: Path, model: ModelOptions, settings: Config, results: Results
) -> None:
    card = load_card(file)
    if model.weights:
        requirements.require_kind(where, card, model)
        requirements.require_classes(where, card, tuple(settings.classes))
    else:
        assert isinstance(model, HolohistoModel)
        requirements.require_network(where, card, model)
    requirements.require_mpp(where, card, settings.check.mpp)
    if card.tokenizer is None:
        return
    if model.weights:
        requirements.require_mode(where, card, settings.tokens.mode)
    requirements.require_tokenizer(where, card, _tokenizer(settings, results) or card.tokenizer)


def _tokenizer(settings: Config, results: Results) -> str | None:
    """Return the digest of the run's tokenizer, or NEW; None before it has been converted."""
    path = results.tokenizer
    if settings.tokenizer.checkpoint is None:
        if not path.exists():
            return NEW
    else:
        checkpoint = _existing(settings.tokenizer.checkpoint, "tokenizer")
        given = checkpoint and checkpoint_files.find(checkpoint)
        if not given or given.layout != "holohisto":
            return None
        path = given.weights
    return read_metadata(path, "tokenizer").get("digest")
