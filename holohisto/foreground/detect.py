"""Tissue among cells of mean colour: neither glass (near-white, hardly any colour) nor a
blacked-out surround (near-black).
"""

from typing import Any

import numpy as np
from scipy import ndimage

from holohisto.config.sections import ForegroundOptions

LOWEST, HIGHEST = 0.02, 0.06
"""Range of the automatic threshold: above JPEG noise on glass, below pale stroma."""
GLASS_SATURATION = 0.03
"""A class of cells that is more colourful than this on average is not glass."""
NEAR_WHITE = 200
"""Least brightness of glass; what is darker is another surround."""


def detect(
    rgb: np.ndarray,
    options: ForegroundOptions,
    cell_um: float,
    threshold: float | None = None,
    glass: tuple[int, int, int] | None = None,
) -> tuple[np.ndarray, float]:
    """Find the tissue among cells.

    A cell is tissue when its saturation is above the threshold and its brightness above
    `options.black`. Then small holes are filled, small pieces dropped, and the rest widened.

    Args:
        rgb: Mean colours of the cells, (height, width, 3) uint8.
        options: Thresholds and sizes.
        cell_um: Side of a cell in micrometres.
        threshold: Saturation, over `options.saturation`; None for both: Otsu, kept in range.
        glass: Colour of the empty slide; its tint is taken out first when it is near-white.

    Returns:
        Mask (height, width) bool and the threshold used.
    """
    saturation, brightness = saturation_and_brightness(rgb, glass)
    lit = brightness > options.black
    if threshold is None:
        threshold = options.saturation
    if threshold is None:
        threshold = automatic_threshold(saturation[lit])
    mask = lit & (saturation > threshold)
    cells_per_mm2 = 1e6 / cell_um**2
    # In a picture of the size of a hole or a piece, neither glass nor tissue may vanish whole.
    most = 0.1 * mask.size
    mask = ~_without_small(~mask, min(options.max_hole_mm2 * cells_per_mm2, most))
    mask = _without_small(mask, min(options.min_piece_mm2 * cells_per_mm2, most))
    if options.margin and mask.any():
        square = np.ones((3, 3), bool)
        mask = np.asarray(ndimage.binary_dilation(mask, square, iterations=options.margin))
    return mask, float(threshold)


def automatic_threshold(saturation: np.ndarray) -> float:
    """Return Otsu's threshold of the saturations, or a lower one that parts glass from tissue.

    Where tissue is everywhere, Otsu splits the tissue; so while the lower class is still too
    colourful for glass it is split again; LOWEST if none is glass. Never above HIGHEST.
    """
    values = saturation
    threshold = LOWEST
    while values.size and values.max() > values.min():
        split = _otsu(values)
        lower = values[values <= split]
        if lower.mean() <= GLASS_SATURATION:
            threshold = split
            break
        values = lower
    return float(np.clip(threshold, LOWEST, HIGHEST))


def density_of(
    rgb: np.ndarray, mask: np.ndarray, threshold: float, glass: tuple[int, int, int]
) -> tuple[float, float, float] | None:
    """Return the median optical density of the coloured cells of the tissue, in red, green, blue.

    Args:
        rgb: Mean colours of the cells, (height, width, 3) uint8.
        mask: (height, width) bool, tissue.
        threshold: Saturation above which a cell is coloured; lumina and filled holes are not.
        glass: Colour of the empty slide.
    """
    coloured = rgb[mask & (saturation_and_brightness(rgb, glass)[0] > threshold)]
    if not len(coloured):
        return None
    red, green, blue = np.median(optical_density(coloured, glass), axis=0).tolist()
    return red, green, blue


def optical_density(rgb: np.ndarray, glass: tuple[int, int, int]) -> np.ndarray:
    """Return -ln of the transmitted light, (..., 3) float64, >= 0; glass that is not near-white is
    taken for white.
    """
    light = np.array(glass if min(glass) >= NEAR_WHITE else (255, 255, 255), np.float64)
    return np.maximum(np.log((light + 1) / (rgb.astype(np.float64) + 1)), 0)


def saturation_and_brightness(
    rgb: np.ndarray, glass: tuple[int, int, int] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Saturation and brightness, 0 to 1, without the tint of near-white glass."""
    colours = rgb.astype(np.float32)
    if glass is not None and min(glass) >= NEAR_WHITE:
        colours = np.minimum(colours * (255 / np.asarray(glass, np.float32)), 255)
    brightest = colours.max(axis=2)
    return (brightest - colours.min(axis=2)) / np.maximum(brightest, 1), brightest / 255


def _otsu(values: np.ndarray) -> float:
    """The threshold that parts values best into two classes, of 256 bins."""
    counts, edges = np.histogram(values, 256)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1]
    above = counts.sum() - below
    sums = np.cumsum(counts * centres)
    means_below = sums[:-1] / np.maximum(below, 1)
    means_above = (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    return float(edges[1:-1][np.argmax(below * above * (means_above - means_below) ** 2)])


def _without_small(mask: np.ndarray, cells: float) -> np.ndarray:
    """Drop connected pieces (8 neighbours) of fewer than `cells` cells."""
    labelled: Any = ndimage.label(mask, np.ones((3, 3), bool))
    labels, count = labelled
    if count == 0:
        return mask
    keep = np.bincount(labels.ravel(), minlength=count + 1) >= cells
    keep[0] = False
    return keep[labels]
