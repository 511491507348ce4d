"""Mode `frozen` on a CPU: the encoder by OpenVINO, twice as fast there as by torch."""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from holohisto.config.fields import Precision
from holohisto.conversion import network_of
from holohisto.device import encoding_in
from holohisto.runtime.processor import CompiledNetwork
from holohisto.tokenizer.file import tokenizer_digest
from holohisto.tokenizer.norm import FreezableNorm, Statistics
from holohisto.tokenizer.vqgan import VQGAN
from holohisto.tokens.converted import load_or_convert
from holohisto.tokens.encoders import LocalEncoder

SMALL = 2**20
"""Pixels of a block, context included, up to which torch computes it: compiling would take longer
than it saves. The choice depends on the shape of a block alone."""
EXAMPLE = 64
"""Side of the subtile, and of its features, that the two phases are traced with."""


class OpenvinoEncoder(LocalEncoder):
    """See LocalEncoder. The statistics of a slide are inputs of the converted networks.

    They change with every slide and variant, while the networks are converted once, and compiled
    once for each shape of a block. Tokens are chosen by torch. Squares alone are computed by what
    computed the last block.
    """

    def __init__(
        self, model: VQGAN, kept: Path | None = None, precision: Precision = "fp32"
    ) -> None:
        """Take a tokenizer on the CPU.

        Args:
            model: The tokenizer.
            kept: File of the converted networks; None: they are converted and not kept.
            precision: `fp32`, or `bf16` on a processor that has it.
        """
        super().__init__(model, precision)
        self._kept = kept
        self._compiled: dict[tuple[str, tuple[int, ...]], CompiledNetwork] = {}
        self._small = True

    def latents(self, rgb: np.ndarray, needed: np.ndarray) -> Tensor:
        """See LocalEncoder."""
        self._small = rgb.shape[0] * rgb.shape[1] <= SMALL
        return super().latents(rgb, needed)

    def _features(self, views: Tensor) -> Tensor:
        if self._small:
            return super()._features(views)
        return torch.cat([self._computed("shallow", view) for view in views.split(1)])

    def _deep(self, features: Tensor) -> Tensor:
        if self._small:
            return super()._deep(features)
        return self._computed("deep", features)

    def _computed(self, phase: str, x: Tensor) -> Tensor:
        """Compute a phase of one input at the present statistics."""
        statistics = _statistics(self._norms[phase]).numpy()
        inputs = {"x": x.contiguous().numpy(), "statistics": statistics}
        key = phase, tuple(x.shape)
        if key not in self._compiled:
            shapes = {name: array.shape for name, array in inputs.items()}
            threads = torch.get_num_threads()
            self._compiled[key] = CompiledNetwork(
                self._networks[phase], shapes, self.precision, threads=threads
            )
        return torch.from_numpy(self._compiled[key](inputs))

    @cached_property
    def _norms(self) -> dict[str, list[FreezableNorm]]:
        """The norms of each phase, in the order of the data."""
        first = len(_norms_in(self.model.encoder.down[: self.model.encoder.shallow_levels]))
        return {"shallow": self.model.norms[:first], "deep": self.model.norms[first:]}

    @cached_property
    def _networks(self) -> dict[str, Any]:
        """The networks of the two phases."""
        return load_or_convert(self._kept, tokenizer_digest(self.model), self._converted_networks)

    def _converted_networks(self) -> dict[str, Any]:
        # Whatever the precision of the encoder: it is chosen when a network is compiled.
        with encoding_in("fp32", torch.device("cpu")):
            return self._traced()

    def _traced(self) -> dict[str, Any]:
        self.model.use(Statistics.FROZEN)
        pixels = torch.zeros(1, EXAMPLE, EXAMPLE, 3, dtype=torch.uint8)
        functions = {"shallow": super()._features, "deep": super()._deep}
        features = functions["shallow"](pixels)
        examples = {"shallow": pixels, "deep": features}
        return {
            phase: _converted(functions[phase], self._norms[phase], examples[phase])
            for phase in functions
        }


class _Phase(nn.Module):
    """What is traced: a phase whose norms take their statistics from an input."""

    def __init__(
        self, function: Callable[[Tensor], Tensor], norms: Sequence[FreezableNorm]
    ) -> None:
        super().__init__()
        self._function, self._norms = function, norms  # not as modules: weights become constants

    def forward(self, x: Tensor, statistics: Tensor) -> Tensor:
        """Compute the phase; `statistics` are (2, groups of all norms) float32."""
        start = 0
        for norm in self._norms:
            mean, variance = statistics[:, start : start + norm.num_groups]
            norm.mean, norm.variance = mean, variance
            start += norm.num_groups
        return self._function(x)


def _converted(
    function: Callable[[Tensor], Tensor], norms: Sequence[FreezableNorm], example: Tensor
) -> Any:
    """Convert a phase and leave its norms as they were."""
    kept = [(norm.mean, norm.variance) for norm in norms]
    inputs = {"x": example, "statistics": _statistics(norms)}
    try:
        return network_of(_Phase(function, norms), inputs)
    finally:
        for norm, (mean, variance) in zip(norms, kept, strict=True):
            norm.mean, norm.variance = mean, variance


def _statistics(norms: Sequence[FreezableNorm]) -> Tensor:
    """Return means and variances of all groups of all norms, (2, groups) float32."""
    means, variances = [norm.mean for norm in norms], [norm.variance for norm in norms]
    return torch.stack([torch.cat(means), torch.cat(variances)])


def _norms_in(modules: Any) -> list[FreezableNorm]:
    return [layer for layer in modules.modules() if isinstance(layer, FreezableNorm)]
