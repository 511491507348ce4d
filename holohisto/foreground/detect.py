"""Separate tissue from glass (near-white, almost colourless) and from a blacked-out surround.

The input is a small picture of the slide, in which a pixel is the mean colour of a cell.
"""

from typing import Any

import numpy as np

from holohisto.config.sections import ForegroundOptions

LOWEST, HIGHEST = 0.02, 0.06
"""Range of the automatic saturation: above JPEG noise on glass, below pale stroma."""
GLASS_SATURATION = 0.03
"""Largest mean saturation of a group of cells that can be glass."""
DIMMEST = 140
"""Smallest channel value of glass; a darker background is another kind of surround."""
VANISHING_SHARE = 0.1
"""Largest hole to fill, or piece to drop, as a share of the picture. In a picture of the size of a
hole or a piece, neither glass nor tissue may vanish entirely."""


def detect(
    rgb: np.ndarray,
    options: ForegroundOptions,
    cell_um: float,
    saturation: float | None = None,
    glass: tuple[int, int, int] | None = None,
    without: np.ndarray | None = None,
) -> tuple[np.ndarray, float]:
    """Find the tissue among cells.

    A cell is tissue when it is more saturated than `saturation` and brighter than `options.black`.
    Then small holes are filled, small pieces are dropped, and the remaining mask is dilated.

    Args:
        rgb: Mean colours of the cells, (height, width, 3) uint8.
        options: Saturation, areas in mm² and margin.
        cell_um: Side of a cell in micrometres.
        saturation: Saturation of tissue, 0 to 1, which takes precedence over `options.saturation`.
            Where both are None: see `otsu_saturation`.
        glass: Colour of the empty slide; glass is first corrected to white.
        without: (height, width) bool, cells that are no tissue whatever their colour; None: none.

    Returns:
        Mask (height, width) bool, and the saturation used.
    """
    saturations, brightness = saturation_and_brightness(rgb, glass)
    lit = brightness > options.black
    if without is not None:
        lit &= ~without
    if saturation is None:
        saturation = options.saturation
    if saturation is None:
        saturation = otsu_saturation(saturations[lit])
    mask = lit & (saturations > saturation)
    cells_per_mm2 = 1e6 / cell_um**2
    largest = VANISHING_SHARE * mask.size
    mask = ~_without_small(~mask, min(options.max_hole_mm2 * cells_per_mm2, largest))
    mask = _without_small(mask, min(options.min_piece_mm2 * cells_per_mm2, largest))
    if options.margin and mask.any():
        from scipy import ndimage

        square = np.ones((3, 3), bool)
        mask = np.asarray(ndimage.binary_dilation(mask, square, iterations=options.margin))
    if without is not None:
        mask &= ~without
    return mask, float(saturation)


def otsu_saturation(saturations: np.ndarray) -> float:
    """Return the saturation that separates glass from tissue, found by Otsu's method.

    Where the whole slide is tissue, Otsu's threshold splits the tissue. Therefore the less
    saturated group is split again until its mean is low enough for glass (GLASS_SATURATION).

    Args:
        saturations: Saturations of the cells, 0 to 1, float, of any shape.

    Returns:
        A saturation from LOWEST, also where no group is glass, to HIGHEST.
    """
    saturation = LOWEST
    while saturations.size and saturations.max() > saturations.min():
        split = _otsu(saturations)
        lower = saturations[saturations <= split]
        if lower.mean() <= GLASS_SATURATION:
            saturation = split
            break
        saturations = lower
    return float(np.clip(saturation, LOWEST, HIGHEST))


def optical_density(rgb: np.ndarray, glass: tuple[int, int, int]) -> np.ndarray:
    """Return -ln of the share of light that tissue transmits (Beer and Lambert).

    Args:
        rgb: (..., 3), 0 to 255.
        glass: Colour of the empty slide, of density 0; white is used where it is no glass.

    Returns:
        (..., 3) float64, 0 or more.
    """
    light = np.array(glass if min(glass) >= DIMMEST else (255, 255, 255), np.float64)
    return np.maximum(np.log((light + 1) / (rgb.astype(np.float64) + 1)), 0)


def saturation_and_brightness(
    rgb: np.ndarray, glass: tuple[int, int, int] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return saturation and brightness as in HSV, after white balance on glass.

    Args:
        rgb: (height, width, 3) uint8.
        glass: Colour of the empty slide; None for no white balance.

    Returns:
        Two arrays (height, width) float32, 0 to 1.
    """
    colours = rgb.astype(np.float32)
    if glass is not None and min(glass) >= DIMMEST:
        colours = np.minimum(colours * (255 / np.asarray(glass, np.float32)), 255)
    brightest = colours.max(axis=2)
    return (brightest - colours.min(axis=2)) / np.maximum(brightest, 1), brightest / 255


def _otsu(values: np.ndarray) -> float:
    """Otsu's threshold: of 255 borders between bins, the largest variance between both groups."""
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
    from scipy import ndimage

    labelled: Any = ndimage.label(mask, np.ones((3, 3), bool))
    labels, count = labelled
    if count == 0:
        return mask
    keep = np.bincount(labels.ravel(), minlength=count + 1) >= cells
    keep[0] = False
    return keep[labels]
