"""Where the tissue is: one cell of the map stands for 16 working pixels a side.

Glass (near-white, hardly any colour) and a blacked-out surround (near-black) are both background.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from holohisto import progress, pyramid
from holohisto.atomic import replacing
from holohisto.check import SlideRecord
from holohisto.config import ForegroundOptions
from holohisto.errors import HolohistoError
from holohisto.slide import Slide, block_means

LOWEST, HIGHEST = 0.02, 0.06
"""Range of the automatic threshold: above JPEG noise on glass, below pale stroma."""
GLASS_SATURATION = 0.03
"""A class of cells that is more colourful than this on average is not glass."""
NEAR_WHITE = 200
"""Least brightness of glass; what is darker is another surround."""
READ_SIDE = 2048
FINER = 4
"""Cells are means of pixels this much finer: smaller levels of JPEG slides are blocky in colour."""
READERS = 4
PICTURE_SIDE = 1200
OUTLINE = (0, 160, 60)


@dataclass(frozen=True)
class Foreground:
    """The tissue of one slide."""

    mask: np.ndarray
    """(height, width) bool, one value per cell."""
    cell: int
    """Side of a cell, working pixels."""
    threshold: float
    """Saturation above which a cell was taken for tissue."""
    density: tuple[float, float, float] | None = None
    """Median optical density of the tissue in red, green and blue, against the slide's own glass;
    None where it was never measured."""

    @property
    def share(self) -> float:
        """Share of the slide that is tissue."""
        return float(self.mask.mean())

    def within(self, xy: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
        """Return the cells (rows, columns) bool that a rectangle of working pixels touches."""
        (x, y), (width, height) = xy, size
        left, top = max(0, x // self.cell), max(0, y // self.cell)
        right, bottom = -(-(x + width) // self.cell), -(-(y + height) // self.cell)
        return self.mask[top : max(top, bottom), left : max(left, right)]

    def contains(self, xy: tuple[int, int], size: tuple[int, int]) -> bool:
        """Tell whether a rectangle of working pixels touches tissue."""
        return bool(self.within(xy, size).any())

    def pixels(self, xy: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
        """Return (height, width) bool for a rectangle of working pixels; False outside."""
        (x, y), (width, height) = xy, size
        columns = np.arange(x, x + width) // self.cell
        rows = np.arange(y, y + height) // self.cell
        inside = (rows >= 0) & (rows < self.mask.shape[0])
        across = (columns >= 0) & (columns < self.mask.shape[1])
        result = np.zeros((height, width), bool)
        result[np.ix_(inside, across)] = self.mask[np.ix_(rows[inside], columns[across])]
        return result


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
    saturation, brightness = _saturation(rgb, glass)
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


def find(
    slide: Slide, record: SlideRecord, options: ForegroundOptions, threshold: float | None
) -> Foreground:
    """Read a slide's cells and find its tissue.

    Raises:
        HolohistoError: there is none.
    """
    cells = read_cells(slide, record.factor, options.cell)
    cell_um = record.working_mpp * options.cell
    mask, used = detect(cells, options, cell_um, threshold, record.background)
    if not mask.any():
        raise HolohistoError(
            slide.path, f"slide {record.slide}: no tissue found at saturation {used:.3f}",
            advice="look at the slide; set a lower saturation in the sheet's column `threshold`"
            " or by `segment --threshold` (or a smaller `foreground.min_piece_mm2`, now"
            f" {options.min_piece_mm2:g}), or exclude the slide",
        )  # fmt: skip
    return Foreground(mask, options.cell, used, density_of(cells, mask, used, record.background))


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
    coloured = rgb[mask & (_saturation(rgb, glass)[0] > threshold)]
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


def read_cells(slide: Slide, factor: int, cell: int) -> np.ndarray:
    """Return the mean colour of each cell, (height, width, 3) uint8.

    Read in parts, from the best level: memory is that of the cells and of a few parts.
    """
    step = factor * cell
    fine = step // FINER
    width, height = (-(-side // step) for side in slide.size)
    cells = np.empty((height, width, 3), np.uint8)
    side = READ_SIDE // FINER
    corners = list(product(range(0, height, side), range(0, width, side)))

    def part(corner: tuple[int, int]) -> tuple[int, int, np.ndarray]:
        top, left = corner
        size = min(side, width - left), min(side, height - top)
        fine_size = size[0] * FINER, size[1] * FINER
        pixels = slide.read((left * step, top * step), fine_size, fine)
        return top, left, block_means(pixels, FINER)

    with ThreadPoolExecutor(READERS) as pool:
        parts: Iterator[tuple[int, int, np.ndarray]] = pool.map(part, corners)
        for top, left, pixels in progress.track(parts, len(corners), "reading the slide", "part"):
            cells[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return cells


def save(path: Path, foreground: Foreground, record: SlideRecord) -> None:
    """Write the map as a one-level TIFF of 0 and 255, a pixel a cell."""
    header = {
        "slide": record.slide,
        "cell": foreground.cell,
        "factor": record.factor,
        "threshold": foreground.threshold,
        "fingerprint": record.fingerprint,
        "density": foreground.density,
    }
    height, width = foreground.mask.shape
    mpp = record.working_mpp * foreground.cell
    pyramid.write_rows(path, [foreground.mask], (width, height), mpp, header)


def load(path: Path, record: SlideRecord | None = None) -> Foreground:
    """Read a map that `save` wrote.

    Raises:
        HolohistoError: missing, damaged, or of another slide than `record`.
    """
    with pyramid.Raster(path) as raster:
        header = raster.header
        if "cell" not in header:
            raise HolohistoError(path, "is not a map of `holohisto foreground`")
        if record is not None and header.get("fingerprint") != record.fingerprint:
            raise HolohistoError(
                path, "was made from another image", found=f"slide {header.get('slide')}",
                allowed=f"slide {record.slide} as checked", advice="run `holohisto foreground`",
            )  # fmt: skip
        mask = raster.read((0, 0), raster.size) > 0
    density = header.get("density")
    return Foreground(
        mask, int(header["cell"]), float(header["threshold"]), tuple(density) if density else None
    )


def write_picture(path: Path, slide: Slide, foreground: Foreground, factor: int) -> None:
    """Write a JPEG of the slide with the outline of its tissue."""
    from PIL import Image

    rgb, scale = slide.overview(PICTURE_SIDE)
    cells = scale / (factor * foreground.cell)
    rows, columns = (
        np.minimum(((np.arange(length) + 0.5) * cells).astype(int), limit - 1)
        for length, limit in zip(rgb.shape[:2], foreground.mask.shape, strict=True)
    )
    mask = foreground.mask[np.ix_(rows, columns)]
    inner = np.asarray(ndimage.binary_erosion(mask, np.ones((3, 3), bool), iterations=2))
    picture = rgb.copy()
    picture[mask > inner] = OUTLINE
    with replacing(path) as temporary:
        Image.fromarray(picture).save(temporary, "JPEG", quality=85)


def _saturation(
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
