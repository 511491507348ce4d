"""The inputs of a segmenter for a batch of tiles: tokens, pixels, or both."""

import numpy as np
import torch
from torch import Tensor

from holohisto.segmenter.file import Segmenter
from holohisto.tokenizer.norm import Statistics
from holohisto.tokenizer.vqgan import VQGAN


class Inputs:
    """Which inputs to read for a tile, and their way to the device.

    With a tokenizer, each tile is encoded when it is used, normalised by its own statistics: the
    paper's method, mode `online`. Without, tokens are slices of token maps.
    """

    def __init__(self, segmenter: Segmenter, tokenizer: VQGAN | None) -> None:
        """Set up for a segmenter; the tokenizer is given in mode `online` only."""
        self.tokenizer = tokenizer if segmenter.needs_tokens else None
        if self.tokenizer is not None:
            self.tokenizer.use(Statistics.NATIVE)
        self.tokens = segmenter.needs_tokens and self.tokenizer is None
        """Whether to read from the token map."""
        self.pixels = segmenter.needs_pixels or self.tokenizer is not None
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
        if self.tokenizer is not None:
            assert pixels is not None
            on_device = self.tokenizer.to(device).tokens(pixels)
        return on_device, pixels
