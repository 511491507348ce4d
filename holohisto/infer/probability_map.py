"""The probability map, at a quarter of the working resolution."""

import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from holohisto.infer.arrays import Array, Arrays
from holohisto.runtime.arithmetic import ceil_div

DIVISOR = 4
"""Working pixels a side of a pixel of the map."""
ROWS = 512
"""Rows reduced, or read back, at a time."""


def quarter(band: Array, arrays: Arrays) -> np.ndarray:
    """Average the largest probability over the classes in blocks of 4 x 4.

    Args:
        band: (classes, rows, width) in 0..1; a block cut by the border repeats its last pixels.
        arrays: The arrays that it is of.

    Returns:
        (ceil(rows / 4), ceil(width / 4)) uint8, 255 for 1.
    """
    reduced = []
    for top in range(0, band.shape[1], ROWS):
        largest = arrays.library.amax(band[:, top : top + ROWS], 0)
        means = arrays.numpy(arrays.means(largest, DIVISOR))
        reduced.append(np.rint(means * np.float32(255)).astype(np.uint8))
    return np.concatenate(reduced)


class Spool:
    """Keeps the probability map until the labels are written, in a file without a name.

    Attributes:
        size: Width and height of the map.
    """

    def __init__(self, size: tuple[int, int], folder: Path | None) -> None:
        """Start empty.

        Args:
            size: Working width and height of the slide.
            folder: Folder of the file; None: the map is kept in memory.
        """
        self.size = (ceil_div(size[0], DIVISOR), ceil_div(size[1], DIVISOR))
        self._file: IO[bytes] = io.BytesIO()
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # closed by bands()

    def add(self, rows: np.ndarray) -> None:
        """Append the next rows, (rows, width) uint8."""
        self._file.write(np.ascontiguousarray(rows).tobytes())

    def bands(self) -> Iterator[np.ndarray]:
        """Yield the map from the top in bands, (rows, width) uint8."""
        self._file.seek(0)
        width, height = self.size
        for row in range(0, height, ROWS):
            rows = min(ROWS, height - row)
            band = np.frombuffer(self._file.read(rows * width), np.uint8).reshape(rows, width)
            if row + rows == height:  # the reader may not ask for more after the last band
                self._file.close()
            yield band
