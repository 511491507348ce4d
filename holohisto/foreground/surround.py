"""Blacked-out surrounds of slides, as scanners leave them around what they scanned."""

import numpy as np

BLACK = 40
"""Largest channel value of a pixel in a blacked-out surround, whose JPEG blocks are not quite
black."""
BLENDED = 2
"""Width of the dark line between slide and surround that JPEG and reduction blend, working pixels.
It is no tissue."""
SPECK = 1
"""Black areas at most twice this wide, in working pixels, are not widened by BLENDED: they may be
specks on tissue."""
FRAME = BLENDED + 2 * SPECK
"""Pixels on every side that decide whether a pixel belongs to the surround."""


def blacked_out(glass: tuple[int, int, int]) -> bool:
    """Return whether the colour of an empty slide is that of a blacked-out surround."""
    return max(glass) <= BLACK


def surround(rgb: np.ndarray) -> np.ndarray:
    """Return black pixels, and those within BLENDED of black that is wider than a speck.

    Args:
        rgb: (height + 2 FRAME, width + 2 FRAME, 3) uint8.

    Returns:
        (height, width) bool.
    """
    black = rgb[..., 0] <= BLACK
    for channel in (1, 2):
        black &= rgb[..., channel] <= BLACK
    inner = black[FRAME:-FRAME, FRAME:-FRAME]
    if not black.any():
        return inner
    core = _along_both(black, 2 * SPECK + 1, np.logical_and)
    return inner | _along_both(core, 2 * (SPECK + BLENDED) + 1, np.logical_or)


def _along_both(mask: np.ndarray, side: int, operation: np.ufunc) -> np.ndarray:
    """Combine each square of `side` pixels; the result is smaller by `side` - 1 along both axes."""
    for _ in range(2):
        length = len(mask) - side + 1
        result = mask[:length].copy()
        for shift in range(1, side):
            operation(result, mask[shift : shift + length], out=result)
        mask = result.T
    return mask
