"""Freezing a tokenizer's statistics at those of a slide's tissue."""

import numpy as np
import torch

from holohisto.device import device_of, memory_format
from holohisto.tokenizer.norm import Statistics
from holohisto.tokenizer.vqgan import VQGAN


@torch.no_grad()
def calibrate(model: VQGAN, tiles: list[np.ndarray]) -> None:
    """Freeze the encoder's statistics at those of tiles of one slide.

    All tiles pass through the encoder together, each layer normalised by the statistics of all of
    them, which it keeps. The input of a layer is therefore normalised by the same statistics now
    and later. These cancel a slide's gain and offset as native ones cancel a picture's, and are a
    function of slide and tokenizer alone.

    Args:
        model: Left frozen.
        tiles: At least one, each (height, width, 3) uint8, all of one size.
    """
    device = device_of(model)
    rgb = torch.from_numpy(np.stack(tiles)).to(device).permute(0, 3, 1, 2)
    pixels = model.pixels(rgb).contiguous(memory_format=memory_format(device))
    model.use(Statistics.SHARED)
    with torch.autocast(device.type, enabled=False):
        model.latents(pixels)
    model.use(Statistics.FROZEN)
