"""How a kind of network is trained: optimiser, learning rates, clipping, weights of losses."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from holohisto.config.models import DynunetModel
from holohisto.config.training import TrainOptions
from holohisto.segmenter.baselines.dynunet import head_weights
from holohisto.segmenter.baselines.pixels import PixelSegmenter
from holohisto.training.schedule import learning_rate

LOWEST_RATE = 0.75**12
"""Learning rate of a pretrained backbone's first layer, as a share of that of its last: that of
BEiT and MAE (arXiv 2111.06377, Table 9) for 12 layers, spread over as many layers as there are."""


@dataclass(frozen=True)
class Recipe:
    """The recipe of section `train`: AdamW, warm-up and cosine decay."""

    options: TrainOptions
    head_weights: tuple[float, ...] = (1.0,)
    """Weights of the losses of a network's outputs, from the finest to the coarsest."""

    @property
    def clip(self) -> float:
        """Gradient norm above which gradients are clipped."""
        return self.options.clip

    def optimiser(self, model: nn.Module) -> torch.optim.Optimizer:
        """Build the optimiser; its groups have the key `share`, of the learning rate."""
        groups = parameter_groups(model, self.options.weight_decay)
        return torch.optim.AdamW(groups, self.options.learning_rate)

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        return learning_rate(self.options, step)


class NnunetRecipe(Recipe):
    """nnU-Net's: SGD with Nesterov momentum and polynomial decay, whatever section `train` states.

    Source: MIC-DKFZ/nnUNet, nnUNetTrainer.
    """

    LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, POWER = 0.01, 0.99, 3e-5, 0.9

    @property
    def clip(self) -> float:
        """Gradient norm above which gradients are clipped."""
        return 12.0

    def optimiser(self, model: nn.Module) -> torch.optim.Optimizer:
        """Build the optimiser; all weights decay."""
        return torch.optim.SGD(
            [{"params": list(model.parameters()), "share": 1.0}],
            self.LEARNING_RATE,
            momentum=self.MOMENTUM,
            nesterov=True,
            weight_decay=self.WEIGHT_DECAY,
        )

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step: to 0 at the end."""
        return self.LEARNING_RATE * (1 - step / self.options.steps) ** self.POWER


def recipe_of(model: nn.Module, options: TrainOptions) -> Recipe:
    """Return the recipe for a network."""
    if isinstance(model, PixelSegmenter) and isinstance(model.options, DynunetModel):
        return NnunetRecipe(options, head_weights(len(model.options.channels)))
    return Recipe(options)


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group to its share of `rate`."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["share"]


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return groups of parameters with `weight_decay` and `share` of the learning rate.

    Matrices decay, norms and biases do not. The layers of a pretrained backbone have smaller
    learning rates the earlier they are.
    """
    shares: dict[nn.Parameter, float] = {}
    if isinstance(model, PixelSegmenter):
        for backbone in model.pretrained_backbones:
            shares |= _layer_shares(backbone)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        key = (shares.get(parameter, 1.0), weight_decay if parameter.ndim > 1 else 0.0)
        groups.setdefault(key, []).append(parameter)
    ordered = sorted(groups, reverse=True)  # the full learning rate first
    return [{"params": groups[k], "weight_decay": k[1], "share": k[0]} for k in ordered]


def _layer_shares(backbone: nn.Module) -> dict[nn.Parameter, float]:
    """Return the share of the learning rate of each parameter, from LOWEST_RATE to 1."""
    named = list(backbone.named_parameters())
    layers = sorted(dict.fromkeys(_layer(name) for name, _ in named), key=_stage)
    last = max(1, len(layers) - 1)
    return {p: LOWEST_RATE ** (1 - layers.index(_layer(name)) / last) for name, p in named}


def _layer(name: str) -> str:
    """Return the layer of a parameter: its name up to the last index, or without the last part."""
    parts = name.split(".")
    ends = [index for index, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[: ends[-1] + 1] if ends else parts[:-1])


def _stage(layer: str) -> int:
    """Return the stage that a layer's name begins with (`layers2c` is of stage 2), or else 0."""
    digits: Sequence[str] = [c for c in layer.split(".")[0] if c.isdigit()]
    return int("".join(digits)) if digits else 0
