"""Slides of tissue everywhere with one dark disc that is annotated."""

import numpy as np

SIZE = (700, 530)


def drawn(seed, light):
    """Tissue everywhere, one dark disc that is annotated; brightness tells the slides apart."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    dark = np.hypot(x - 200 - 100 * seed, y - 250) < 60
    rgb = random.integers(0, 20, (SIZE[1], SIZE[0], 3)) + np.array([light, light - 80, light - 40])
    rgb[dark] = (60, 20, 90)
    return rgb.astype(np.uint8), dark
