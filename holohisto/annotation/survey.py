"""Which values or colours a mask has, and whether they fill regions or are noise of resizing."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from holohisto.slide.samples import has_alpha

LARGEST = 65536
"""Value that stands for all grey values above 65535."""
INNER_SHARE = 0.25
"""Share of a value's pixels whose right and lower neighbours have it too, from which the value
fills regions: 1/4 of a square of 2 pixels. At blurred outlines it is near 0."""


@dataclass(frozen=True)
class Survey:
    """The distinct values of parts of a picture; transparent pixels do not count.

    Attributes:
        codes: Grey values or palette indices, or 0xrrggbb if `coloured`; ascending, (n,) int64.
        counts: Number of pixels of each, (n,) int64.
        inner: Number of those whose right and lower neighbours are equal, (n,) int64.
        coloured: Whether the channels of a pixel differ.
        transparent: Number of transparent pixels.
    """

    codes: np.ndarray
    counts: np.ndarray
    inner: np.ndarray
    coloured: bool
    transparent: int

    def regions(self, background: int = 0) -> np.ndarray:
        """Values other than the background that fill regions, ascending."""
        filled = (self.inner >= INNER_SHARE * self.counts) & (self.codes != background)
        return self.codes[filled]

    def noise(self, background: int = 0) -> np.ndarray:
        """Values other than the background that fill no region, as at blurred outlines."""
        return np.setdiff1d(self.codes, [background, *self.regions(background)])

    def count(self, codes: np.ndarray) -> int:
        """Number of the pixels with one of these values."""
        return int(self.counts[np.isin(self.codes, codes)].sum())


def survey(parts: Sequence[np.ndarray], alpha_cut: int | None) -> Survey:
    """Count the values of parts of a picture.

    Args:
        parts: Each (height, width, samples) of integers from 0 to 65536.
        alpha_cut: Alpha below which a pixel is transparent; None where alpha does not count.
    """
    visible = [opaque(part, alpha_cut) for part in parts]
    coloured = not all(map(_is_grey, parts, visible))
    found = [
        _counted(codes_of(part) if coloured else part[..., 0], seen)
        for part, seen in zip(parts, visible, strict=True)
    ]
    codes = np.unique(np.concatenate([np.zeros(0, np.int64), *(values for values, _, _ in found)]))
    counts, inner = np.zeros(len(codes), np.int64), np.zeros(len(codes), np.int64)
    for values, count, within in found:
        at = np.searchsorted(codes, values)
        counts[at] += count
        inner[at] += within
    return Survey(codes, counts, inner, coloured, sum(int((~seen).sum()) for seen in visible))


def codes_of(pixels: np.ndarray) -> np.ndarray:
    """Return the values of (height, width, samples) without alpha, or 0xrrggbb; int64."""
    if pixels.shape[2] < 3:
        return pixels[..., 0].astype(np.int64)
    red, green, blue = (pixels[..., i].astype(np.int64) for i in range(3))
    return red << 16 | green << 8 | blue


def alpha_cut_of(parts: Sequence[np.ndarray]) -> int | None:
    """Alpha below which pixels are transparent: half of the largest. None where it is constant."""
    alphas = [part[..., -1] for part in parts if has_alpha(part) and part.size]
    if not alphas:
        return None
    low, high = min(int(a.min()) for a in alphas), max(int(a.max()) for a in alphas)
    return None if low == high else (high + 1) // 2


def opaque(pixels: np.ndarray, alpha_cut: int | None) -> np.ndarray:
    """Return which pixels are not transparent, (height, width) bool."""
    if alpha_cut is None:
        return np.ones(pixels.shape[:2], bool)
    return pixels[..., -1] >= alpha_cut


def _is_grey(pixels: np.ndarray, visible: np.ndarray) -> bool:
    if pixels.shape[2] < 3:
        return True
    differ = (pixels[..., 1] != pixels[..., 0]) | (pixels[..., 2] != pixels[..., 0])
    return not (differ & visible).any()


def _counted(codes: np.ndarray, visible: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct values, the number of their pixels, and of those inside regions."""
    codes = np.where(visible, codes.astype(np.int64), -1)
    inside = np.zeros(codes.shape, bool)
    corner = codes[:-1, :-1]
    inside[:-1, :-1] = (corner == codes[:-1, 1:]) & (corner == codes[1:, :-1])
    if codes.max(initial=0) <= LARGEST:  # counting is faster than sorting
        values, numbers = np.arange(-1, LARGEST + 1), codes.reshape(-1) + 1
    else:
        values, numbers = np.unique(codes, return_inverse=True)
        numbers = numbers.reshape(-1)
    counts = np.bincount(numbers, minlength=len(values))
    inner = np.bincount(numbers, inside.reshape(-1), len(values)).astype(np.int64)
    seen = (values >= 0) & (counts > 0)
    return values[seen].astype(np.int64), counts[seen], inner[seen]
