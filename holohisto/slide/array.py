"""A picture in memory, read like the file of a slide."""

import hashlib
from functools import cached_property
from pathlib import Path

import numpy as np

from holohisto.slide.mpp import MppXY
from holohisto.slide.probe import Probe
from holohisto.slide.slide import Slide


class ArraySource:
    """The pixels of one level, from an array."""

    def __init__(self, rgb: np.ndarray) -> None:
        """`rgb` is (height, width, 3) uint8; it is not copied."""
        height, width = rgb.shape[:2]
        self.levels = [(width, height)]
        self._rgb = rgb

    def read(self, level: int, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Return a copy of (height, width, 3)."""
        return self._rgb[y : y + height, x : x + width].copy()

    def close(self) -> None:
        """Do nothing: there is no file."""


class ArraySlide(Slide):
    """A picture in memory as a slide of one level: the same pixels, background and reductions."""

    def __init__(
        self,
        rgb: np.ndarray,
        *,
        mpp: float | MppXY,
        background: tuple[int, int, int] | None = None,
    ) -> None:
        """Take the picture.

        Args:
            rgb: (height, width, 3) uint8; it is not copied.
            mpp: Micrometres per pixel; two values, along x and y, where pixels are not square.
            background: Colour around the picture; estimated from its borders when first needed.

        Raises:
            ValueError: `rgb` has another shape or type, or no pixel.
        """
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or not rgb.size:
            raise ValueError(f"a picture is (height, width, 3) uint8, not {rgb.shape} {rgb.dtype}")
        source = ArraySource(rgb)
        probe = Probe("array", "none", source.levels)
        self._rgb = rgb
        self._use(Path("array"), probe, source, mpp, background)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the shape and of all pixels."""
        digest = hashlib.sha256(repr(self._rgb.shape).encode())
        digest.update(self._rgb.tobytes())
        return digest.hexdigest()
