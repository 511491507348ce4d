"""Ink of pens on the glass, which is no stain."""

import numpy as np

from holohisto.foreground.detect import optical_density

DENSER = 2.5
"""Ink is this many times as dense as the median of the stained cells."""
EDGE = 2
"""Cells around ink that count as ink: they may hold some of it."""
COSINE = 0.87
"""Largest cosine of the angle, 30 degrees, between the densities of ink and of stained cells."""


def inked_cells(rgb: np.ndarray, stained: np.ndarray, glass: tuple[int, int, int]) -> np.ndarray:
    """Return the stained cells that are much denser than most, and of another hue, and around.

    Where more than half of the stained cells are ink, none is found. Black ink is not
    distinguished from dense stain.

    Args:
        rgb: Mean colours of the cells, (height, width, 3) uint8.
        stained: (height, width) bool.
        glass: Colour of the empty slide.

    Returns:
        (height, width) bool.
    """
    from scipy import ndimage

    ink = np.zeros(stained.shape, bool)
    if not stained.any():
        return ink
    densities = optical_density(rgb[stained], glass)  # (n, 3)
    common = np.median(densities, axis=0)
    length = np.linalg.norm(densities, axis=1) * np.linalg.norm(common)
    cosine = densities @ common / np.maximum(length, 1e-6)
    dense = densities.sum(axis=1) > DENSER * common.sum()
    ink[stained] = dense & (cosine < COSINE)
    around = ndimage.binary_dilation(ink, np.ones((3, 3), bool), iterations=EDGE)
    return stained & around
