"""Measuring the colour of a slide's tissue."""

import numpy as np

from holohisto.foreground.cells import pixels_of
from holohisto.foreground.detect import optical_density, saturation_and_brightness
from holohisto.foreground.surround import FRAME, blacked_out, surround
from holohisto.slide import Slide
from holohisto.slide.scale import Scale
from holohisto.tiles.colour import Colour

SQUARES, SIDE = 128, 48
"""Squares of tissue that are read, and their side, working pixels."""
DARKEST = 2.5
"""Optical density at which pixels are cut off, so that pen and folds do not count for more."""
GLASS = 0.25
"""Pixels whose density is below this share of the upper quartile are glass: lumina, and the rest of
cells at the tissue's edge, whose number says nothing of the stain."""


def colour_of(
    slide: Slide,
    scale: Scale,
    stained: np.ndarray,
    cell: int,
    glass: tuple[int, int, int],
) -> Colour | None:
    """Measure the colour of the tissue on squares at even distances.

    Args:
        slide: The slide.
        scale: Level-0 pixels per working pixel.
        stained: (rows, columns) bool, cells of tissue that are stained.
        cell: Side of a cell, working pixels.
        glass: Colour of the empty slide.

    Returns:
        None where no cell is stained.

    Raises:
        HolohistoError: the slide is damaged.
    """
    cells = np.flatnonzero(stained)
    count = min(SQUARES, len(cells))
    chosen = cells[(2 * np.arange(count) + 1) * len(cells) // (2 * max(1, count))]
    densities = []
    for row, column in zip(*np.unravel_index(chosen, stained.shape), strict=True):
        y, x = (int(at) * cell + (cell - SIDE) // 2 for at in (row, column))
        corner, side = (x - FRAME, y - FRAME), SIDE + 2 * FRAME
        wide = slide.resampled(corner, (side, side), scale)
        kept = pixels_of(stained, cell, (x, y), (SIDE, SIDE))
        if blacked_out(glass):
            kept &= ~surround(wide)
        densities.append(optical_density(wide[FRAME:-FRAME, FRAME:-FRAME][kept], glass))
    values = np.concatenate(densities) if densities else np.zeros((0, 3))
    if len(values) < 2:
        return None
    values = _without_glass(np.minimum(values, DARKEST))
    return Colour.of(values.mean(axis=0).tolist(), np.cov(values.T).tolist())


def _without_glass(densities: np.ndarray) -> np.ndarray:
    """Return the rows of (n, 3) optical densities, n > 1, that are no glass."""
    total = densities.sum(axis=1)
    return densities[total >= GLASS * np.quantile(total, 0.75)]


def stained_cells(
    rgb: np.ndarray, mask: np.ndarray, saturation: float, glass: tuple[int, int, int]
) -> np.ndarray:
    """Return the stained cells of the tissue, (height, width) bool: no lumina, no filled holes.

    Args:
        rgb: Mean colours of the cells, (height, width, 3) uint8.
        mask: (height, width) bool, tissue.
        saturation: Saturation above which a cell is stained.
        glass: Colour of the empty slide.
    """
    return mask & (saturation_and_brightness(rgb, glass)[0] > saturation)
