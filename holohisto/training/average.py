"""Exponential moving average of a network's weights, which is validated and saved."""

import copy

import torch
from torch import nn


class WeightAverage:
    """The average of all weights and running statistics over the steps of a training.

    The decay rises from 0.1 as (1 + step) / (10 + step) up to its final value, so that the random
    initial weights are soon forgotten (as in TensorFlow's ExponentialMovingAverage).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Start from the model's present weights, on its device; `decay` is the final value."""
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        """The network with averaged weights, in evaluation mode."""
        self._decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move the average towards the model's weights after step number `step` (from 0)."""
        decay = min(self._decay, (1 + step) / (10 + step))
        current = model.state_dict()
        averages, weights = [], []
        for name, value in self.model.state_dict().items():
            if value.dtype.is_floating_point:
                averages.append(value)
                weights.append(current[name])
            else:
                value.copy_(current[name])
        # A few kernels on a GPU instead of hundreds.
        torch._foreach_lerp_(averages, weights, 1 - decay)  # pyright: ignore
