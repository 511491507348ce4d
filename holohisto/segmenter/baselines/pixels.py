"""Segmenters over pixels alone: networks with their tile, margins, scale and normalisation."""

from dataclasses import replace
from operator import attrgetter

import torch
from torch import Tensor, nn
from torch.nn import functional

from holohisto.config.models import PixelOptions
from holohisto.runtime.arithmetic import ceil_div
from holohisto.segmenter.baselines.networks import build
from holohisto.segmenter.holohisto.decoder import resize
from holohisto.segmenter.prior import PriorShift
from holohisto.segmenter.sides import Sides

MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's colours, which all pretrained backbones expect."""
BACKBONES = {
    "unetr": "vit",
    "swinunetr_v2": "swinViT",
    "segformer": "network.segformer",
    "deeplabv3plus": "backbone",
    "sam_vit_b": "encoder.vision_encoder",
    "sam_vit_h": "encoder.vision_encoder",
}
"""Kind of network -> name of its backbone."""


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
        self.options, self.reduction = options, options.reduction
        self.network, self.sides = _network(options, classes)
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
            Logits (B, classes, H, W); in evaluation mode with the shift of the prior. In training
            a network with deep supervision gives (B, outputs * classes, H, W).
        """
        height, width = rgb.shape[2:]
        full = self.sides.of(height, width)
        margin = (0, full[1] - width, 0, full[0] - height)
        wide = functional.pad(rgb, margin, value=self.sides.border)
        return self.accepted(None, wide)[:, :, : size[0], : size[1]]

    def accepted(self, tokens: Tensor | None, rgb: Tensor) -> Tensor:
        """Segment tiles whose height and width the network accepts (`sides`), see `forward`."""
        pixels = (rgb.float() - self.mean) / self.spread
        if self.reduction > 1:
            pixels = functional.avg_pool2d(pixels, self.reduction)
        logits = self.network(pixels.contiguous(memory_format=torch.channels_last))
        return self.prior(resize(logits, rgb.shape[2:]))

    @property
    def networks(self) -> list[nn.Module]:
        """The network, or those of the classes."""
        return list(self.network) if isinstance(self.network, OnePerClass) else [self.network]

    @property
    def pretrained_backbones(self) -> list[nn.Module]:
        """The backbones that start from pretrained weights."""
        if getattr(self.options, "pretrained", None) is None:
            return []
        find = attrgetter(BACKBONES[self.options.kind])
        return [find(network) for network in self.networks]


class OnePerClass(nn.ModuleList):
    """A binary network for each class."""

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) -> logits (B, classes, h, w), several outputs one after the other."""
        return torch.stack([network(pixels) for network in self], dim=2).flatten(1, 2)


def _network(options: PixelOptions, classes: int) -> tuple[nn.Module, Sides]:
    """Build the network for all classes, or one for each; and the sides of tiles it takes."""
    factor = options.reduction
    width, height = (ceil_div(side, factor) for side in options.tile)
    reduced = options.model_copy(update={"tile": (width, height)})
    if options.per_class:
        binary = [build(reduced, 1) for _ in range(classes)]
        network, sides = OnePerClass(network for network, _ in binary), binary[0][1]
    else:
        network, sides = build(reduced, classes)
    fixed = sides.fixed and (factor * sides.fixed[0], factor * sides.fixed[1])
    return network, replace(sides, multiple=factor * sides.multiple, fixed=fixed)
