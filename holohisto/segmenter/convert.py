"""Converting a segmenter of torch into a network of OpenVINO."""

from pathlib import Path

import torch
from torch import Tensor, nn

from holohisto.conversion import network_of
from holohisto.runtime.processor import intermediate_representation
from holohisto.segmenter.converted import ConvertedSegmenter
from holohisto.segmenter.file import Segmenter

EXAMPLE = 320
"""Side, about, of the tile that a network is traced with, pixels; it then takes any size."""


class _Probabilities(nn.Module):
    """What is traced: a segmenter on tiles whose sides it accepts, and a sigmoid."""

    def __init__(self, model: Segmenter) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor | None = None, rgb: Tensor | None = None) -> Tensor:
        """Return (1, classes, H, W) float32 of tokens (1, h, w) int64 and (1, H, W, 3) uint8."""
        rgb = None if rgb is None else rgb.permute(0, 3, 1, 2)
        return self.model.accepted(tokens, rgb).sigmoid()  # pyright: ignore


@torch.no_grad()
def convert(
    model: Segmenter, tile: tuple[int, int] | None = None, folder: Path | None = None
) -> ConvertedSegmenter:
    """Convert a segmenter in evaluation mode, on the CPU.

    Args:
        model: The segmenter.
        tile: Width and height of the only tiles that the result takes, pixels. Needed for networks
            that compute with sizes in Python, as Swin UNETR does. None: it takes any size.
        folder: As of `intermediate_representation`.
    """
    example = _example(model, tile or (EXAMPLE, EXAMPLE))
    network = network_of(_Probabilities(model), example)
    xml, weights = intermediate_representation(network, folder)
    return ConvertedSegmenter(xml, weights, model.sides, model.needs_tokens, model.needs_pixels)


def _example(model: Segmenter, tile: tuple[int, int]) -> dict[str, Tensor]:
    """Return inputs of a tile of about this width and height, or of the network's only size."""
    fixed = model.sides.fixed
    height, width = model.sides.of(fixed[1], fixed[0]) if fixed else model.sides.of(*tile[::-1])
    inputs = {}
    if model.needs_tokens:
        f = model.downscale
        inputs["tokens"] = torch.zeros(1, height // f, width // f, dtype=torch.int64)
    if model.needs_pixels:
        inputs["rgb"] = torch.zeros(1, height, width, 3, dtype=torch.uint8)
    return inputs
