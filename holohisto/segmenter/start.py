"""The weights that a training starts from: random ones, a pretrained backbone, or a segmenter."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from holohisto.config.models import HolohistoModel, ModelOptions
from holohisto.config.starter import STARTER, located
from holohisto.errors import HolohistoError
from holohisto.segmenter import requirements
from holohisto.segmenter.baselines import pretrained as backbones
from holohisto.segmenter.card import load_weights

HEADS = {"rgb": "decoder.head", "tokens": "decoder.head.1"}
"""Decoder -> its last convolution, whose channels belong to the classes, the same number each."""
PRIOR = "prior.shift"
"""Not part of a start: every training sets it from its own slides."""


@dataclass(frozen=True)
class Cohort:
    """What a segmenter to start from has to have in common with a cohort."""

    classes: tuple[str, ...]
    mpp: float
    """Working resolution, micrometres per pixel."""
    tokenizer: str | None
    """Digest of the tokenizer; None for models that read no tokens."""


def start(model: nn.Module, options: ModelOptions, cohort: Cohort) -> dict[str, str]:
    """Load the weights that the options name into a new network, if they do.

    Returns:
        Provenance for the segmenter file: `pretrained`, "scratch" or "pretrained: " and the file's
        name; for a segmenter also `pretrained_digest`, the SHA-256 of its weights.

    Raises:
        HolohistoError: the file cannot be read, or does not suit the network or the cohort.
    """
    if isinstance(options, HolohistoModel) and options.pretrained:
        return _from_segmenter(model, options, options.pretrained, cohort)
    return {"pretrained": backbones.start(model, options)}


def _from_segmenter(
    model: nn.Module, options: HolohistoModel, path: Path, cohort: Cohort
) -> dict[str, str]:
    file = located(path, "segmenter")
    arrays, card, digest = load_weights(file)
    requirements.require_network(file, card, options)
    requirements.require_mpp(file, card, cohort.mpp)
    requirements.require_tokenizer(file, card, cohort.tokenizer)
    state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    state[PRIOR] = model.state_dict()[PRIOR]
    head = HEADS[options.decoder]
    for name in (f"{head}.weight", f"{head}.bias"):
        if name in state:  # a missing one is reported with all others
            state[name] = _head(state[name], card.classes, model.state_dict()[name], cohort.classes)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise HolohistoError(file, f"segmenter cannot be read: {error}") from error
    name = "starter" if path == STARTER else path.name
    return {"pretrained": f"pretrained: {name}", "pretrained_digest": digest}


def _head(
    old: Tensor, old_classes: tuple[str, ...], new: Tensor, classes: tuple[str, ...]
) -> Tensor:
    """Return the new head's parameter with the channels of each class that the old one knows."""
    channels = len(new) // len(classes)
    new = new.clone()
    for index, name in enumerate(classes):
        if name in old_classes:
            first = old_classes.index(name) * channels
            new[index * channels : (index + 1) * channels] = old[first : first + channels]
    return new
