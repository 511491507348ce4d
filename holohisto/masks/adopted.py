"""Masks made by another tool as labels and probabilities, so that they are delivered and scored."""

from collections.abc import Iterator

import numpy as np

from holohisto.annotation import Annotation
from holohisto.runtime.arithmetic import ceil_div
from holohisto.slide.record import SlideRecord

BAND = 512
"""Rows read at a time."""
DIVISOR = 4
"""Working pixels to a pixel of the probability map, as infer writes it."""


def adopted_bands(masks: Annotation, record: SlideRecord) -> Iterator[np.ndarray]:
    """Yield rows at working resolution from the top, (rows, width) uint8, bit i for class i.

    Args:
        masks: The masks, read like an annotation.
        record: The slide.
    """
    width, height = record.working_size
    for top in range(0, height, BAND):
        yield masks.read((0, top), (width, min(BAND, height - top)))


def certain(labels: np.ndarray) -> np.ndarray:
    """Return a probability map in which every pixel of a class is certain.

    Args:
        labels: (rows, width) uint8.

    Returns:
        (rows / DIVISOR, width / DIVISOR) uint8, rounded up: 255 where any of the pixels is of a
        class, else 0.
    """
    height, width = (ceil_div(side, DIVISOR) for side in labels.shape)
    padded = np.zeros((height * DIVISOR, width * DIVISOR), bool)
    padded[: labels.shape[0], : labels.shape[1]] = labels != 0
    blocks = padded.reshape(height, DIVISOR, width, DIVISOR)
    return np.where(blocks.any(axis=(1, 3)), np.uint8(255), np.uint8(0))
