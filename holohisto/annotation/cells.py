"""Where a slide is annotated, in square cells."""

import numpy as np

from holohisto.annotation.reader import Annotation
from holohisto.annotation.reopened import ReopenedAnnotation
from holohisto.runtime.arithmetic import ceil_div


def annotated_cells(
    annotation: Annotation | ReopenedAnnotation, size: tuple[int, int], cell: int
) -> np.ndarray:
    """Return which classes have an annotated pixel in each cell, (rows, columns) uint8 of bits.

    Reads the annotation once, in bands of 32 cells.

    Args:
        annotation: The slide's annotation.
        size: Working width and height of the slide.
        cell: Side of a cell, working pixels.
    """
    rows, columns = ceil_div(size[1], cell), ceil_div(size[0], cell)
    annotated = np.zeros((rows, columns), np.uint8)
    for row in range(0, rows, 32):
        height = min(32, rows - row)
        bits = annotation.read((0, row * cell), (columns * cell, height * cell))
        cells = bits.reshape(height, cell, columns, cell)  # (rows, y, columns, x)
        annotated[row : row + height] = np.bitwise_or.reduce(cells, axis=(1, 3))
    return annotated
