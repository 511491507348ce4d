"""A synthetic slide of any size, all tissue."""

from pathlib import Path

import numpy as np

from holohisto.pyramid.write import write_slide_pyramid


def write(path: Path, size: tuple[int, int]) -> None:
    """Write a pyramid of coloured squares of 8 px, repeated every 512 rows, at 0.5 um/px."""
    width, height = size
    small = np.random.default_rng(0).integers(90, 220, (64, width // 8 + 1, 3)).astype(np.uint8)
    band = np.kron(small, np.ones((8, 8, 1), np.uint8))[:, :width]
    tall = (band[: min(512, height - y)] for y in range(0, height, 512))
    write_slide_pyramid(path, tall, 0.5)
