"""Annotations as pictures, whose values or colours stand for classes."""

import threading
from pathlib import Path

import numpy as np

from holohisto.annotation.pixels import FlatPixels, TiffPixels
from holohisto.annotation.rules import Rule
from holohisto.annotation.values import rule_of
from holohisto.config.sections import Classes
from holohisto.slide.pictures import picture_size
from holohisto.slide.probe import is_tiff


class RasterAnnotation:
    """An annotation as a picture; threads may share it.

    A TIFF is read tile by tile; any other picture is decoded at the first read, and kept packed.
    """

    def __init__(self, path: Path, classes: Classes, annotated: tuple[str, ...]) -> None:
        """Open the file.

        Args:
            path: TIFF, PNG or JPEG: grey, RGB or with a palette.
            classes: The classes in the order of their bits, with their values or colours.
            annotated: Names of the classes to read.

        Raises:
            HolohistoError: missing, damaged, or of another pixel type.
        """
        self.size = picture_size(path)
        self._pixels = TiffPixels(path) if is_tiff(path) else FlatPixels(path)
        self._path, self._classes, self._annotated = path, classes, annotated
        self._lock = threading.Lock()
        self._rule: Rule | None = None

    def bits(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Return the classes of a rectangle that lies inside the picture.

        Args:
            x: Left edge, pixels of the picture.
            y: Top edge, pixels of the picture.
            width: Width, pixels of the picture.
            height: Height, pixels of the picture.

        Returns:
            (height, width) uint8, bit i set where class i is.

        Raises:
            HolohistoError: the file is damaged, or its values cannot be understood.
        """
        with self._lock:
            if self._rule is None:
                self._rule = rule_of(self._path, self._classes, self._annotated, self._pixels)
        return self._rule.bits(self._pixels.read(x, y, width, height))

    @property
    def boxes(self) -> None:
        """Nothing is drawn as an outline."""
        return None

    @property
    def kept_bytes(self) -> int:
        """Bytes of decoded pixels in memory."""
        return self._pixels.kept_bytes

    def close(self) -> None:
        """Close the file."""
        self._pixels.close()
