"""Ink of pens on the slide, which is neither tissue nor stain."""

from typing import Any

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
RED = 0.4
"""Largest density in red of red ink, as a share of that in green."""
BLUE = 0.65
"""Smallest density in blue of red ink, as a share of that in green. Magenta stains have less."""
OTHER_HUE = 1.25
"""Red ink has this many times the common share of blue to green: red stains are not ink."""
ON_GLASS = 0.1
"""Smallest share of a red stroke's surroundings that is glass: pools of blood lie in tissue."""
GAP = 4
"""Cells by which gaps in tissue are closed before its surroundings are glass."""
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
        " the stain, and strong ink is no tissue;"
        " look at the foreground picture"
    )


def strong_ink(
    rgb: np.ndarray, stained: np.ndarray, lit: np.ndarray, glass: tuple[int, int, int]
) -> np.ndarray:
    """Return the cells under strong ink of a pen, on glass or on tissue, and around.

    Cells under blue, green and black ink absorb nearly all red light, form strokes, and differ in
    hue from the other stained cells, or, if black, are much denser. Therefore tissue that is dark
    and blue as a whole is not ink. Red ink is found where its strokes reach the glass: see
    `_red_strokes`. Brown ink has the hue of stains and is not distinguished from them.

    Args:
        rgb: Mean colours of the cells, (height, width, 3) uint8.
        stained: (height, width) bool.
        lit: (height, width) bool, cells that do not belong to a blacked-out surround.
        glass: Colour of the empty slide.

    Returns:
        (height, width) bool.
    """
    strokes = _dark_strokes(rgb, stained, lit, glass) | _red_strokes(rgb, stained, lit, glass)
    return _grown(strokes, EDGE) if strokes.any() else strokes


def _dark_strokes(
    rgb: np.ndarray, stained: np.ndarray, lit: np.ndarray, glass: tuple[int, int, int]
) -> np.ndarray:
    """Strokes of strong blue, green and black ink, (height, width) bool."""
    ink = np.zeros(stained.shape, bool)
    dark = lit & _dense(rgb, 0, glass)
    if (common := _common(rgb, stained, dark, glass)) is None:
        return ink
    found = optical_density(rgb[dark], glass)  # (n, 3)
    ink[dark] = _coloured(found, common) | _coloured(found - common, common)
    if not blacked_out(glass):
        ink[dark] |= _black(found, common)
    return _strokes(ink)


def _red_strokes(
    rgb: np.ndarray, stained: np.ndarray, lit: np.ndarray, glass: tuple[int, int, int]
) -> np.ndarray:
    """Strokes of strong red ink that reach the glass, (height, width) bool.

    Ink lets red light through, unlike nuclei, and stops blue light, unlike magenta stains. Blood
    may do the same, but lies in tissue.
    """
    from scipy import ndimage

    ink = np.zeros(stained.shape, bool)
    dense = lit & _dense(rgb, 1, glass)
    if (common := _common(rgb, stained, dense, glass)) is None:
        return ink
    ink[dense] = _red(optical_density(rgb[dense], glass), common)
    ink = _strokes(ink)
    labelled: Any = ndimage.label(ink, SQUARE)
    labels, count = labelled
    if not count:
        return ink
    padded = np.pad(stained | ink, GAP)
    closed: Any = ndimage.binary_closing(padded, SQUARE, iterations=GAP)
    empty = ~closed[GAP:-GAP, GAP:-GAP]
    around = _widened(labels, EDGE + 1)
    around[_grown(ink, EDGE) | ink] = 0
    cells = np.bincount(around.ravel(), minlength=count + 1)
    on_glass = np.bincount(around[empty], minlength=count + 1) >= ON_GLASS * np.maximum(cells, 1)
    on_glass[0] = False
    return on_glass[labels]


def _dense(rgb: np.ndarray, channel: int, glass: tuple[int, int, int]) -> np.ndarray:
    """The cells that are as dense in one colour as strong ink, (height, width) bool."""
    values = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    return (optical_density(values, glass)[:, channel] >= STRONG)[rgb[..., channel]]


def _common(
    rgb: np.ndarray, stained: np.ndarray, dense: np.ndarray, glass: tuple[int, int, int]
) -> np.ndarray | None:
    """Median density, (3,), of the stained cells away from dense ones; None without either."""
    if not dense.any():
        return None
    rest = stained & ~_grown(dense, EDGE)
    return optical_density(np.median(rgb[rest], axis=0), glass) if rest.any() else None


def _coloured(density: np.ndarray, common: np.ndarray) -> np.ndarray:
    """Whether densities, (n, 3), are those of strong blue or green ink; (n,) bool."""
    strong = (density[:, 0] >= STRONG) & (density[:, 0] >= BLUER * density[:, 1])
    return strong & (_cosine(density, common) < COSINE)


def _red(density: np.ndarray, common: np.ndarray) -> np.ndarray:
    """Whether densities, (n, 3), are those of red ink; (n,) bool."""
    red, green, blue = density.T
    hue = max(BLUE, OTHER_HUE * common[2] / max(common[1], 1e-6))
    strong = density.sum(axis=1) > DENSER * common.sum()
    return strong & (green >= STRONG) & (red <= RED * green) & (blue >= hue * green)


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


def red_cells(rgb: np.ndarray, stained: np.ndarray, glass: tuple[int, int, int]) -> np.ndarray:
    """Return the stained cells of the colour of red ink, and around: ink inside tissue, or blood.

    Args:
        rgb: Mean colours of the cells, (height, width, 3) uint8.
        stained: (height, width) bool.
        glass: Colour of the empty slide.

    Returns:
        (height, width) bool.
    """
    red = np.zeros(stained.shape, bool)
    if stained.any():
        densities = optical_density(rgb[stained], glass)  # (n, 3)
        red[stained] = _red(densities, np.median(densities, axis=0))
    return stained & _grown(red, EDGE) if red.any() else red


def _cosine(densities: np.ndarray, common: np.ndarray) -> np.ndarray:
    """Cosines of the angles between densities, (n, 3), and a common one, (3,); (n,) float64."""
    length = np.linalg.norm(densities, axis=1) * np.linalg.norm(common)
    return densities @ common / np.maximum(length, 1e-6)


def _strokes(ink: np.ndarray) -> np.ndarray:
    """The connected cells of which a part is STROKE cells wide, (height, width) bool."""
    from scipy import ndimage

    core = ndimage.binary_opening(ink, np.ones((STROKE, STROKE), bool))
    return np.asarray(ndimage.binary_propagation(core, SQUARE, mask=ink))


def _widened(labels: np.ndarray, by: int) -> np.ndarray:
    """Numbers of pieces, of which the largest within a distance takes empty cells."""
    from scipy import ndimage

    return np.where(labels > 0, labels, ndimage.maximum_filter(labels, 2 * by + 1))


def _grown(cells: np.ndarray, by: int) -> np.ndarray:
    """Cells and those within a distance of them, (height, width) bool."""
    from scipy import ndimage

    return np.asarray(ndimage.binary_dilation(cells, SQUARE, iterations=by))
