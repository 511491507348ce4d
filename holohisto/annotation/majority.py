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
        mask = (bits >> bit) & 1
        if across.step == down.step and down.step.denominator == 1:
            result |= _half_of_block(mask, down.step.numerator).astype(np.uint8) << bit
            continue
        for rows, covered in area_sums(mask[..., None], across, down, 2):
            result[rows] |= (2 * covered[..., 0] >= across.area(down)).astype(np.uint8) << bit
    return result


def _half_of_block(mask: np.ndarray, block: int) -> np.ndarray:
    """Where at least half of a block's pixels are set, (height / block, width / block) bool."""
    height, width = mask.shape[0] // block, mask.shape[1] // block
    rows = np.zeros((height, mask.shape[1]), np.uint16)
    for i in range(block):
        rows += mask[i::block]
    areas = np.zeros((height, width), np.uint32)
    for j in range(block):
        areas += rows[:, j::block]
    return 2 * areas >= block * block
