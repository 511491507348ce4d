"""The inputs of a segmenter for a batch of tiles: tokens, pixels, or both."""

import numpy as np
import torch
from torch import Tensor

from holohisto.config.fields import Precision
from holohisto.device import encoding_in
from holohisto.segmenter.file import Segmenter
from holohisto.tokenizer.norm import Statistics
from holohisto.tokenizer.vqgan import VQGAN


class TileEncoder:
    """The paper's method, mode `online`: each tile is encoded when it is used.

    Each tile is encoded by itself, normalised by its own statistics, in one precision. Its tokens
    therefore depend neither on the other tiles of the batch nor on the surrounding autocast, and
    are the same in training, validation and inference. Memory is that of one tile.
    """

    def __init__(self, tokenizer: VQGAN, precision: Precision) -> None:
        """Take a tokenizer, which normalises every input by its own statistics afterwards."""
        tokenizer.use(Statistics.NATIVE)
        self.tokenizer = tokenizer
        self.precision: Precision = precision

    @torch.no_grad()
    def __call__(self, rgb: Tensor) -> Tensor:
        """Return the tokens of tiles, (B, H/f, W/f) int64 on their device.

        Args:
            rgb: (B, 3, H, W) uint8; sides are multiples of f.
        """
        tokenizer = self.tokenizer.to(rgb.device)
        tokens = []
        for tile in rgb.split(1):
            with encoding_in(self.precision, rgb.device):
                latents = tokenizer.latents(tokenizer.pixels(tile))
            with encoding_in("fp32", rgb.device):
                tokens.append(tokenizer.quantize.assign(latents))
        return torch.cat(tokens)

    def encode_arrays(self, rgb: np.ndarray) -> np.ndarray:
        """Return the tokens (B, H/f, W/f) int64 of tiles (B, H, W, 3) uint8."""
        return self(torch.from_numpy(rgb).permute(0, 3, 1, 2)).numpy()


class Inputs:
    """Which inputs to read for a tile, and their way to the device.

    With an encoder, tokens are computed from the tile's pixels (mode `online`). Without, they are
    slices of token maps.
    """

    def __init__(self, segmenter: Segmenter, encoder: TileEncoder | None) -> None:
        """Set up for a segmenter; the encoder is given in mode `online` only."""
        self.encoder = encoder if segmenter.needs_tokens else None
        self.tokens = segmenter.needs_tokens and self.encoder is None
        """Whether to read from the token map."""
        self.pixels = segmenter.needs_pixels or self.encoder is not None
        """Whether to read pixels."""

    @torch.no_grad()
    def __call__(
        self,
        tokens: np.ndarray | Tensor | None,
        rgb: np.ndarray | Tensor | None,
        device: torch.device,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return the segmenter's first two arguments.

        Args:
            tokens: (B, h, w) int64, None unless read from the map.
            rgb: (B, 3, H, W) uint8, None unless pixels are read; sides are multiples of f.
            device: The segmenter's device.
        """
        on_device, pixels = (
            None if given is None else torch.as_tensor(given).to(device, non_blocking=True)
            for given in (tokens, rgb)
        )
        if self.encoder is not None:
            assert pixels is not None
            on_device = self.encoder(pixels)
        return on_device, pixels
