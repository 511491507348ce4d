"""The classes of working pixels, from those of the pixels under them."""

import numpy as np

from holohisto.slide.resample import Side, area_sums


def majority(bits: np.ndarray, across: Side, down: Side, classes: int) -> np.ndarray:
    """Reduce classes by area: a pixel has each class that covers at least half of its area.

    Args:
        bits: (down.length, across.length) uint8, bit i for class i.
        across: The columns of the result.
        down: The rows of the result.
        classes: Number of classes.

    Returns:
        (down.count, across.count) uint8.
    """
    if across.step == down.step == 1:
        return bits
    result = np.zeros((down.count, across.count), np.uint8)
    for bit in range(classes):
        covered, area = _areas((bits >> bit) & 1, across, down)
        result |= (2 * covered >= area).astype(np.uint8) << bit
    return result


def _areas(mask: np.ndarray, across: Side, down: Side) -> tuple[np.ndarray, int]:
    """Covered area of each pixel, (down.count, across.count) unsigned, and a pixel's whole area."""
    block = down.step.numerator
    if across.step != down.step or down.step.denominator > 1:
        return area_sums(mask[..., None], across, down, 1)[..., 0], across.area(down)
    rows = np.zeros((down.count, mask.shape[1]), np.uint16)
    for i in range(block):
        rows += mask[i::block]
    areas = np.zeros((down.count, across.count), np.uint32)
    for j in range(block):
        areas += rows[:, j::block]
    return areas, block * block
