"""Segmenters over pixels alone: a network with its tile, its margins and its normalisation."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from holohisto.config.models import PixelOptions
from holohisto.segmenter.baselines.networks import build
from holohisto.segmenter.holohisto.decoder import resize
from holohisto.segmenter.prior import PriorShift

MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's colours, which all pretrained backbones expect."""


class PixelSegmenter(nn.Module):
    """Brings tiles of any size to what a network takes, and its logits back."""

    mean: Tensor
    spread: Tensor

    def __init__(self, options: PixelOptions, classes: int) -> None:
        super().__init__()
        self.downscale = 1
        self.needs_pixels = True
        self.needs_tokens = False
        self.tile = options.tile
        self.micro_batch = options.micro_batch
        self.network, self.sides = build(options, classes)
        self.prior = PriorShift(classes)
        shape = (1, 3, 1, 1)
        self.register_buffer("mean", 255 * torch.tensor(MEAN).view(shape), persistent=False)
        self.register_buffer("spread", 255 * torch.tensor(SPREAD).view(shape), persistent=False)

    def forward(self, tokens: Tensor | None, rgb: Tensor, size: tuple[int, int]) -> Tensor:
        """Segment a batch of tiles.

        Tiles are widened on the right and below with background to what the network takes, and
        the logits are cut back.

        Args:
            tokens: Ignored.
            rgb: (B, 3, H, W) uint8.
            size: (H, W).

        Returns:
            Logits (B, classes, H, W); in evaluation mode with the shift of the prior.
        """
        height, width = rgb.shape[2:]
        full = self.sides.of(height, width)
        margin = (0, full[1] - width, 0, full[0] - height)
        wide = functional.pad(rgb, margin, value=self.sides.border)
        return self.accepted(None, wide)[:, :, : size[0], : size[1]]

    def accepted(self, tokens: Tensor | None, rgb: Tensor) -> Tensor:
        """Segment tiles whose height and width the network accepts (`sides`), see `forward`."""
        pixels = (rgb.float() - self.mean) / self.spread
        logits = self.network(pixels.contiguous(memory_format=torch.channels_last))
        return self.prior(resize(logits, rgb.shape[2:]))
