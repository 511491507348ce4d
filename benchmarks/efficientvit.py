"""Weights of published EfficientViT attention layers."""

import re
from collections.abc import Mapping

from torch import Tensor

from holohisto.errors import HolohistoError
from holohisto.segmenter.holohisto.attention.multi_scale import MultiScaleAttention

NAMES = (
    (re.compile(r"qkv\.conv\.weight"), "qkv.weight"),
    (re.compile(r"aggreg\.(\d+)\.([01])\.weight"), r"aggregate.\1.\2.weight"),
    (re.compile(r"proj\.conv\.weight"), "project.0.weight"),
    (re.compile(r"proj\.norm\.(\w+)"), r"project.1.\1"),
)
"""Ours for every name of the published LiteMLA."""


def attention_from(weights: Mapping[str, Tensor]) -> MultiScaleAttention:
    """Build a layer from the weights of a LiteMLA (mit-han-lab/efficientvit, models/nn/ops.py).

    The channels of its `qkv` are those of ours: head by head, in each q, then k, then v; `aggreg`
    holds for each scale a depthwise convolution and a 1x1 that mixes each head's q, k and v apart;
    `proj` reads the raw heads, then those of every scale.

    Args:
        weights: The layer's own state, names beginning with `qkv`, `aggreg` and `proj`.

    Raises:
        HolohistoError: other names or shapes than such a layer has.
    """
    state = {_ours(name): tensor for name, tensor in weights.items()}
    scales = []
    while (name := f"aggregate.{len(scales)}.0.weight") in state:
        scales.append(state[name].shape[-1])
    try:
        channels, head = state["qkv.weight"].shape[1], state["aggregate.0.1.weight"].shape[1]
        layer = MultiScaleAttention(channels, head, tuple(scales))
        layer.load_state_dict(state)
    except (KeyError, RuntimeError) as error:
        raise HolohistoError("EfficientViT", f"weights are of no such layer: {error}") from error
    return layer


def _ours(name: str) -> str:
    for published, ours in NAMES:
        if published.fullmatch(name):
            return published.sub(ours, name)
    raise HolohistoError(
        "EfficientViT",
        "an attention layer has no such weight",
        found=name,
        allowed="qkv.conv.weight, aggreg.*.weight, proj.conv.weight, proj.norm.*",
    )
