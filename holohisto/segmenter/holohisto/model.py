"""The HoloHisto segmenter: codes of a tile, two-stage backbone, decoder."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from holohisto.config.models import HolohistoModel
from holohisto.runtime.arithmetic import round_up
from holohisto.segmenter.holohisto.backbone import SIZES, Backbone
from holohisto.segmenter.holohisto.decoder import RgbDecoder, TokenDecoder
from holohisto.segmenter.holohisto.embedding import Embedding
from holohisto.segmenter.holohisto.stem import Stem
from holohisto.segmenter.prior import PriorShift
from holohisto.segmenter.sides import Sides


class HolohistoSegmenter(nn.Module):
    """Tokens, pixels or both to logits."""

    codebook: Tensor

    def __init__(
        self, options: HolohistoModel, codebook: Tensor | None, downscale: int, classes: int
    ) -> None:
        """Build with random weights.

        Args:
            options: Size, embedding, attention and decoder.
            codebook: (K, d), not trained; standardised per dimension. None for embedding `linear`.
            downscale: Side f of a token, or of a square that is embedded linearly, pixels.
            classes: Number of classes.
        """
        super().__init__()
        size = SIZES[options.size]
        self.downscale = downscale
        self.needs_tokens = options.embedding == "tokens"
        self.needs_pixels = options.decoder == "rgb" or not self.needs_tokens
        self.tile, self.micro_batch = options.tile, None
        self.sides = Sides(downscale, least=1, border=None)
        if self.needs_tokens:
            assert codebook is not None
            codes = codebook.detach().float()
            codes = (codes - codes.mean(dim=0)) / codes.std(dim=0, unbiased=False).clamp_min(1e-6)
            project = nn.Conv2d(codes.shape[1], size.stage1, 1, bias=False)
        else:
            codes = torch.zeros(0, 1)
            project = nn.Conv2d(3, size.stage1, downscale, downscale, bias=False)
        self.register_buffer("codebook", codes)
        self.prior = PriorShift(classes)
        self.embedding = Embedding(project, size.stage1, masked=self.needs_tokens)
        self.backbone = Backbone(size, options.attention)
        if options.decoder == "rgb":
            self.stem, self.decoder = Stem(size), RgbDecoder(size, classes)
        else:
            self.stem, self.decoder = None, TokenDecoder(size, classes)

    def forward(self, tokens: Tensor | None, rgb: Tensor | None, size: tuple[int, int]) -> Tensor:
        """Segment a batch of tiles.

        Args:
            tokens: (B, ceil(H/f), ceil(W/f)) integers; a token t that is left out is ~t, or -1 if
                it is not known. None for the embedding `linear`.
            rgb: (B, 3, H, W) uint8; None where no pixels are read.
            size: (H, W).

        Returns:
            Logits (B, classes, H, W); in evaluation mode with the shift of the prior.
        """
        f = self.downscale
        full = (round_up(size[0], f), round_up(size[1], f))
        logits = self._logits(tokens, None if rgb is None else self._pixels(rgb, full), full)
        return self.prior(logits[:, :, : size[0], : size[1]])

    def accepted(self, tokens: Tensor | None, rgb: Tensor | None) -> Tensor:
        """Segment tiles whose height and width are multiples of f, see `forward`."""
        if rgb is not None:
            full = (rgb.shape[2], rgb.shape[3])
            return self.prior(self._logits(tokens, self._scaled(rgb), full))
        assert tokens is not None
        full = (tokens.shape[1] * self.downscale, tokens.shape[2] * self.downscale)
        return self.prior(self._logits(tokens, None, full))

    def _logits(
        self, tokens: Tensor | None, pixels: Tensor | None, full: tuple[int, int]
    ) -> Tensor:
        """Return logits (B, classes, *full); pixels are (B, 3, *full) float in -1..1."""
        if self.needs_tokens:
            assert tokens is not None
            read, known = self._codes(tokens).permute(0, 3, 1, 2), tokens >= 0
        else:
            assert pixels is not None
            read, known = pixels, None
        embedded = self.embedding(read.contiguous(memory_format=torch.channels_last), known)
        if self.stem is None:
            logits = self.decoder(self.backbone(embedded), full)
        else:
            assert pixels is not None
            skips = self.stem(pixels)
            del pixels  # 100 MB of a 4K tile
            logits = self.decoder(self.backbone(embedded), full, skips)
        return logits

    def _codes(self, tokens: Tensor) -> Tensor:
        """Look up the codes (B, h, w, d) of tokens (B, h, w), also of those left out (~token)."""
        tokens = tokens.long()
        return functional.embedding(torch.where(tokens < 0, ~tokens, tokens), self.codebook)

    @staticmethod
    def _scaled(rgb: Tensor) -> Tensor:
        """Scale uint8 to -1..1."""
        pixels = rgb.float().div_(127.5).sub_(1)
        return pixels.contiguous(memory_format=torch.channels_last)

    @staticmethod
    def _pixels(rgb: Tensor, full: tuple[int, int]) -> Tensor:
        """Scale to -1..1 and widen to whole tokens by repeating the border."""
        pixels = HolohistoSegmenter._scaled(rgb)
        margin = (0, full[1] - rgb.shape[3], 0, full[0] - rgb.shape[2])
        if any(margin):
            pixels = functional.pad(pixels, margin, mode="replicate")
        return pixels.contiguous(memory_format=torch.channels_last)
