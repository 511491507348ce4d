"""Ink of pens on the slide, which is neither tissue nor stain."""

import numpy as np

from holohisto.foreground.detect import optical_density
from holohisto.foreground.surround import blacked_out

DENSER = 2.5
"""Ink is this many times as dense as the median of the stained cells."""
EDGE = 2
"""Cells around ink that count as ink: they may hold some of it."""
COSINE = 0.87
"""Largest cosine of the angle, 30 degrees, between the densities of ink and of stained cells."""
STRONG = 1.25
"""Smallest density in red of strong blue or green ink, and in every colour of strong black ink."""
BLUER = 1.15
"""Strong blue or green ink is this many times as dense in red as in green. Haematoxylin is not."""
NEUTRAL = 0.7
"""Smallest share of the largest density of the three that the smallest of black ink is."""
STROKE = 3
"""Smallest width of strong ink, cells; nuclei and fibres are narrower."""
SQUARE = np.ones((3, 3), bool)
WORTH_MENTIONING = 0.001
"""Smallest share of ink that is reported."""
WORDS = "ink of a pen"
"""How the sentence about ink begins."""


def ink_sentence(share: float) -> str | None:
    """Return a sentence on the ink of pens on a slide; None for none.

    Args:
        share: Share of what is stained, tissue and ink, that looks like ink, 0 to 1.
    """
    if share < WORTH_MENTIONING:
        return None
    return (
        f"{WORDS} or a dark edge on {100 * share:.1f} % of what is stained: it does not count for"
        " the stain, and strong blue, green and black ink is no tissue;"
        " look at the foreground picture"
    )


def strong_ink(
    rgb: np.ndarray, stained: np.ndarray, lit: np.ndarray, glass: tuple[int, int, int]
) -> np.ndarray:
    """Return the cells under strong blue, green or black ink, on glass or on tissue, and around.

    Such cells absorb nearly all red light, form strokes, and differ in hue from the other stained
    cells, or, if black, are much denser. Therefore tissue that is dark and blue as a whole is not
    ink. Red and brown inks have the hues of stains and are not distinguished from them.

    Args:
        rgb: Mean colours of the cells, (height, width, 3) uint8.
        stained: (height, width) bool.
        lit: (height, width) bool, cells that do not belong to a blacked-out surround.
        glass: Colour of the empty slide.

    Returns:
        (height, width) bool.
    """
    none = np.zeros(stained.shape, bool)
    red = np.zeros((256, 3), np.uint8)
    red[:, 0] = np.arange(256)
    dark = lit & (optical_density(red, glass)[:, 0] >= STRONG)[rgb[..., 0]]
    if not dark.any():
        return none
    rest = stained & ~_grown(dark, EDGE)
    if not rest.any():
        return none
    common = optical_density(np.median(rgb[rest], axis=0), glass)
    found = optical_density(rgb[dark], glass)  # (n, 3)
    ink = none.copy()
    ink[dark] = _coloured(found, common) | _coloured(found - common, common)
    if not blacked_out(glass):
        ink[dark] |= _black(found, common)
    return _grown(_strokes(ink), EDGE)


def _coloured(density: np.ndarray, common: np.ndarray) -> np.ndarray:
    """Whether densities, (n, 3), are those of strong blue or green ink; (n,) bool."""
    strong = (density[:, 0] >= STRONG) & (density[:, 0] >= BLUER * density[:, 1])
    return strong & (_cosine(density, common) < COSINE)


def _black(density: np.ndarray, common: np.ndarray) -> np.ndarray:
    """Whether densities, (n, 3), are those of black ink; (n,) bool."""
    least = density.min(axis=1)
    strong = (least >= STRONG) & (least >= NEUTRAL * density.max(axis=1))
    return strong & (density.sum(axis=1) > DENSER * common.sum())


def inked_cells(rgb: np.ndarray, stained: np.ndarray, glass: tuple[int, int, int]) -> np.ndarray:
    """Return the stained cells that are much denser than most, and of another hue, and around.

    Where more than half of the stained cells are ink, none is found. Black ink is not
    distinguished from dense stain.

    Args:
        rgb: Mean colours of the cells, (height, width, 3) uint8.
        stained: (height, width) bool.
        glass: Colour of the empty slide.

    Returns:
        (height, width) bool.
    """
    ink = np.zeros(stained.shape, bool)
    if not stained.any():
        return ink
    densities = optical_density(rgb[stained], glass)  # (n, 3)
    common = np.median(densities, axis=0)
    dense = densities.sum(axis=1) > DENSER * common.sum()
    ink[stained] = dense & (_cosine(densities, common) < COSINE)
    return stained & _grown(ink, EDGE)


def _cosine(densities: np.ndarray, common: np.ndarray) -> np.ndarray:
    """Cosines of the angles between densities, (n, 3), and a common one, (3,); (n,) float64."""
    length = np.linalg.norm(densities, axis=1) * np.linalg.norm(common)
    return densities @ common / np.maximum(length, 1e-6)


def _strokes(ink: np.ndarray) -> np.ndarray:
    """The connected cells of which a part is STROKE cells wide, (height, width) bool."""
    from scipy import ndimage

    core = ndimage.binary_opening(ink, np.ones((STROKE, STROKE), bool))
    return np.asarray(ndimage.binary_propagation(core, SQUARE, mask=ink))


def _grown(cells: np.ndarray, by: int) -> np.ndarray:
    """Cells and those within a distance of them, (height, width) bool."""
    from scipy import ndimage

    return np.asarray(ndimage.binary_dilation(cells, SQUARE, iterations=by))
