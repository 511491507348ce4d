"""Segmenter files: weights in safetensors, with everything needed to use them in the header."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from holohisto.config.models import HolohistoModel, ModelOptions, PixelModel
from holohisto.errors import HolohistoError
from holohisto.runtime import atomic
from holohisto.segmenter.baselines.pixels import PixelSegmenter
from holohisto.segmenter.baselines.threshold import ThresholdSegmenter
from holohisto.segmenter.card import ModelCard, digest_of, header_of, load_weights
from holohisto.segmenter.holohisto.model import HolohistoSegmenter

Network = HolohistoSegmenter | PixelSegmenter
"""A segmenter that is trained step by step."""
Segmenter = Network | ThresholdSegmenter


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
    digest = digest_of({name: tensor.numpy() for name, tensor in state.items()})
    with atomic.replacing(path) as temporary:
        save_file(state, temporary, metadata=header_of(card, digest))


def load_segmenter(path: Path) -> tuple[Segmenter, ModelCard, str]:
    """Read a segmenter in evaluation mode, its card and the SHA-256 of its weights.

    Raises:
        HolohistoError: the file is missing, of another format, or damaged: its weights do not match
            the digest in its header, or the network of the header.
    """
    arrays, card, digest = load_weights(path)
    state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    try:
        model = build_segmenter(
            card.options, state.get("codebook"), card.downscale, len(card.classes)
        )
        model.load_state_dict(state)
    except (ValueError, RuntimeError, KeyError, TypeError) as error:
        raise HolohistoError(path, f"segmenter cannot be read: {error}") from error
    return model.eval().requires_grad_(False), card, digest
