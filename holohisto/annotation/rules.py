"""Rules that turn the pixels of a mask into the bits of classes."""

from pathlib import Path
from typing import Protocol

import numpy as np

from holohisto.annotation.drawn import shown_all
from holohisto.annotation.survey import LARGEST, codes_of, opaque
from holohisto.errors import HolohistoError

UNKNOWN = 1 << 8
"""Entry of the table of a value that means nothing."""


class Rule(Protocol):
    """Turns pixels into the bits of classes."""

    def bits(self, pixels: np.ndarray) -> np.ndarray:
        """Translate (height, width, samples) into (height, width) uint8."""
        ...


class ValueRule:
    """Values and colours with bits; transparent pixels have none."""

    def __init__(
        self,
        path: Path,
        table: np.ndarray,
        colours: list[tuple[int, int]],
        palette: np.ndarray | None,
        alpha_cut: int | None,
    ) -> None:
        """Keep a table of bits by value, (65537,) uint16, and pairs of 0xrrggbb and bits."""
        self._path, self._table, self._colours = path, table, colours
        self._palette, self._alpha_cut = palette, alpha_cut
        self._strict = bool(table.max() >= UNKNOWN)

    def bits(self, pixels: np.ndarray) -> np.ndarray:
        """Translate (height, width, samples) into (height, width) uint8."""
        values = pixels[..., : 1 if pixels.shape[2] < 3 else 3].max(axis=2)
        visible = opaque(pixels, self._alpha_cut)
        found = self._table[values]
        if self._strict and (found[visible] >= UNKNOWN).any():
            unknown = np.unique(values[visible & (found >= UNKNOWN)])
            raise unknown_values(self._path, unknown.tolist())
        result = found.astype(np.uint8)
        if self._colours:
            codes = codes_of(self._coloured(pixels))
            for code, bit in self._colours:
                result[codes == code] |= bit
        if self._alpha_cut is not None:
            result[~visible] = 0
        return result

    def _coloured(self, pixels: np.ndarray) -> np.ndarray:
        """The RGB of pixels, (height, width, 3 or more)."""
        if self._palette is not None:
            return self._palette[pixels[..., 0]]
        return np.repeat(pixels[..., :1], 3, axis=2) if pixels.shape[2] < 3 else pixels


class NearerRule:
    """The pixels that are nearer to one colour than to the background."""

    def __init__(self, bit: int, colour: int, background: int, alpha_cut: int | None) -> None:
        """Keep two colours 0xrrggbb."""
        self._bit, self._alpha_cut = bit, alpha_cut
        self._colours = [_rgb(colour), _rgb(background)]

    def bits(self, pixels: np.ndarray) -> np.ndarray:
        """Translate (height, width, samples) into (height, width) uint8."""
        rgb = pixels[..., :3].astype(np.int32)
        far, near = (np.abs(rgb - colour).sum(axis=2) for colour in self._colours[::-1])
        inside = (near < far) & opaque(pixels, self._alpha_cut)
        return inside.astype(np.uint8) << self._bit


class OpaqueRule:
    """The pixels that are not transparent."""

    def __init__(self, bit: int, alpha_cut: int) -> None:
        self._bit, self._alpha_cut = bit, alpha_cut

    def bits(self, pixels: np.ndarray) -> np.ndarray:
        """Translate (height, width, samples) into (height, width) uint8."""
        return opaque(pixels, self._alpha_cut).astype(np.uint8) << self._bit


def unknown_values(path: Path, values: list[int]) -> HolohistoError:
    """Return the error of values that mean no class."""
    return HolohistoError(
        path,
        "the annotation has values that mean no class",
        found=shown_all("more" if value == LARGEST else value for value in values),
        advice="set `classes.<name>.values`; values that are not listed there are background",
    )


def _rgb(code: int) -> np.ndarray:
    return np.array([code >> 16 & 255, code >> 8 & 255, code & 255], np.int32)
