"""The HoloHisto segmenter: codes of a tile, two-stage backbone, decoder."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from holohisto.config import HolohistoModel
from holohisto.segmenter.backbone import SIZES, Backbone
from holohisto.segmenter.decoder import RgbDecoder, TokenDecoder


class HolohistoSegmenter(nn.Module):
    """Tokens (and pixels, with the decoder `rgb`) to logits."""

    codebook: Tensor

    def __init__(
        self, options: HolohistoModel, codebook: Tensor, downscale: int, classes: int
    ) -> None:
        """Build with random weights; the codebook (K, d) is a constant, brought to unit spread."""
        super().__init__()
        self.downscale = downscale
        self.needs_pixels = options.decoder == "rgb"
        self.needs_tokens = True
        codes = codebook.float()
        codes = (codes - codes.mean(dim=0)) / codes.std(dim=0, unbiased=False).clamp_min(1e-6)
        self.register_buffer("codebook", codes)
        size = SIZES[options.size]
        self.backbone = Backbone(codebook.shape[1], size)
        decoder = RgbDecoder if self.needs_pixels else TokenDecoder
        self.decoder = decoder(size, classes)

    def forward(self, tokens: Tensor, rgb: Tensor | None, size: tuple[int, int]) -> Tensor:
        """Segment a batch of tiles.

        Args:
            tokens: (B, ceil(H/f), ceil(W/f)) integers.
            rgb: (B, 3, H, W) uint8; may be None for the decoder `tokens`.
            size: (H, W).

        Returns:
            Logits (B, classes, H, W).
        """
        h, w = tokens.shape[1:]
        codes = functional.embedding(tokens.long(), self.codebook).permute(0, 3, 1, 2)
        features = self.backbone(codes.contiguous(memory_format=torch.channels_last))
        full = (h * self.downscale, w * self.downscale)
        pixels = None if rgb is None else self._pixels(rgb, full)
        return self.decoder(features, pixels, full)[:, :, : size[0], : size[1]]

    @staticmethod
    def _pixels(rgb: Tensor, full: tuple[int, int]) -> Tensor:
        """Scale to -1..1 and widen to whole tokens by repeating the border."""
        pixels = rgb.float() / 127.5 - 1
        margin = (0, full[1] - rgb.shape[3], 0, full[0] - rgb.shape[2])
        if any(margin):
            pixels = functional.pad(pixels, margin, mode="replicate")
        return pixels.contiguous(memory_format=torch.channels_last)
