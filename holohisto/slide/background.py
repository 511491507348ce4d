"""The colour of the empty slide: glass, or a blacked-out surround."""

from collections.abc import Callable
from itertools import product

import numpy as np

from holohisto.slide.samples import opaque

WHITE = (255, 255, 255)
SQUARES = 16
"""Number of squares along each border, and along each side of the grid."""
BRIGHT = 160
"""Smallest channel value of a bright pixel."""
FLAT, DIMMEST, TINT = 6.0, 150, 60
"""Largest standard deviation in a square of tinted or dim glass, its least channel value, and the
largest difference between its channels."""
LEAST = 0.1
"""Smallest share of pixels at the borders that are scanned; with fewer, the whole slide is used."""

Read = Callable[[int, int, int, int], np.ndarray]
"""Returns the samples of a rectangle of a level, given left, top, width and height."""


def background_of(read: Read, size: tuple[int, int]) -> tuple[int, int, int]:
    """Return the colour of glass or of a blacked-out surround.

    It is measured in squares along the borders of a level. Transparent pixels, where nothing was
    scanned, have no colour; where most of the border is transparent, the squares are spread over
    the whole slide.

    Args:
        read: Reads rectangles of the level.
        size: Width and height of the level.

    Raises:
        HolohistoError: the slide is damaged.
    """
    side, across, down = _squares(size)
    border = [(x, y) for x in across for y in (down[0], down[-1])]
    border += [(x, y) for y in down for x in (across[0], across[-1])]
    squares = [opaque(read(x, y, side, side)) for x, y in border]
    if sum(map(len, squares)) < LEAST * len(border) * side * side:
        squares = [opaque(read(x, y, side, side)) for x, y in product(across, down)]
    return _glass(squares)


def bright_share(read: Read, size: tuple[int, int]) -> float:
    """Return the share of bright pixels, as of glass and lumina, on a grid over a level.

    Args:
        read: Reads rectangles of the level.
        size: Width and height of the level.

    Raises:
        HolohistoError: the slide is damaged.
    """
    side, across, down = _squares(size)
    pixels = np.concatenate([opaque(read(x, y, side, side)) for x, y in product(across, down)])
    return float((pixels.min(axis=1) >= BRIGHT).mean()) if len(pixels) else 1.0


def _squares(size: tuple[int, int]) -> tuple[int, list[int], list[int]]:
    """Return the side of the squares, and where they begin along x and along y, pixels."""
    width, height = size
    side = max(1, min(32, width // 20, height // 20))
    across, down = (np.linspace(0, length - side, SQUARES).astype(int) for length in size)
    return side, across.tolist(), down.tolist()


def _glass(squares: list[np.ndarray]) -> tuple[int, int, int]:
    """Return the median colour of glass or of a blacked-out surround.

    Glass is near-white. Where fewer pixels are than lie in squares that are flat, as tissue never
    is, it is tinted or dim. White where there is neither.

    Args:
        squares: Scanned pixels of each square, (n, 3) uint8.
    """
    pixels = np.concatenate(squares)
    low, high = pixels.min(axis=1, initial=255), pixels.max(axis=1, initial=0)
    white = pixels[(low >= 200) & (high - low <= 30)]
    black = pixels[high <= 25]
    group, flat = max(white, black, key=len), _flat(squares)
    if len(flat) > 1.2 * len(group):
        group = flat
    if not len(group) or len(group) < 0.1 * len(pixels):
        return WHITE
    red, green, blue = np.median(group, axis=0).round().astype(int).tolist()
    return red, green, blue


def _flat(squares: list[np.ndarray]) -> np.ndarray:
    """Return the pixels, (n, 3) uint8, of squares that are flat, bright and weakly coloured."""
    flat = [
        square
        for square in squares
        if len(square)
        and (square.std(axis=0) <= FLAT).all()
        and square.mean(axis=0).min() >= DIMMEST
        and np.ptp(square.mean(axis=0)) <= TINT
    ]
    return np.concatenate([np.zeros((0, 3), np.uint8), *flat])
