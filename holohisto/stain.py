"""Perturbing the stain of a picture."""

import numpy as np


def change_stain(rgb: np.ndarray, strength: float, random: np.random.Generator) -> np.ndarray:
    """Scale the optical density of each colour a little, and of all together.

    Args:
        rgb: (3, height, width) uint8.
        strength: Largest relative change.
        random: Where the change comes from.

    Returns:
        The same shape and dtype.
    """
    scale = 1 + strength * random.uniform(-1, 1) + 0.5 * strength * random.uniform(-1, 1, 3)
    density = -np.log((np.arange(256) + 1) / 256)
    tables = np.clip(256 * np.exp(-np.outer(scale, density)) - 1, 0, 255).round().astype(np.uint8)
    return np.stack([table[channel] for table, channel in zip(tables, rgb, strict=True)])
