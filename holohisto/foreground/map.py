"""A slide's foreground map: one cell stands for 16 working pixels a side."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from holohisto.config.sections import ForegroundOptions
from holohisto.errors import HolohistoError
from holohisto.foreground.detect import density_of, detect
from holohisto.pyramid.raster import Raster
from holohisto.pyramid.write import write_rows
from holohisto.runtime import progress
from holohisto.runtime.arithmetic import ceil_div
from holohisto.slide import Slide
from holohisto.slide.record import SlideRecord
from holohisto.slide.slide import block_means

READ_SIDE = 2048
FINER = 4
"""Cells are means of pixels this much finer: smaller levels of JPEG slides are blocky in colour."""
READERS = 4


@dataclass(frozen=True)
class Foreground:
    """The tissue of one slide."""

    mask: np.ndarray
    """(height, width) bool, one value per cell."""
    cell: int
    """Side of a cell, working pixels."""
    saturation: float
    """Saturation above which a cell was taken for tissue."""
    density: tuple[float, float, float] | None = None
    """Median optical density of the tissue in red, green and blue, against the slide's own glass;
    None where it was never measured."""

    @property
    def share(self) -> float:
        """Share of the slide that is tissue."""
        return float(self.mask.mean())

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


def find_foreground(
    slide: Slide, record: SlideRecord, options: ForegroundOptions, saturation: float | None
) -> Foreground:
    """Read a slide's cells and find its tissue.

    Raises:
        HolohistoError: there is none.
    """
    cells = read_cells(slide, record.factor, options.cell)
    cell_um = record.working_mpp * options.cell
    mask, used = detect(cells, options, cell_um, saturation, record.background)
    if not mask.any():
        raise HolohistoError(
            slide.path,
            f"slide {record.slide}: no tissue found at saturation {used:.3f}",
            advice="look at the slide; set a lower saturation in the sheet's column `saturation`"
            " or by `segment --saturation` (or a smaller `foreground.min_piece_mm2`, now"
            f" {options.min_piece_mm2:g}), or exclude the slide",
        )
    return Foreground(mask, options.cell, used, density_of(cells, mask, used, record.background))


def read_cells(slide: Slide, factor: int, cell: int) -> np.ndarray:
    """Return the mean colour of each cell, (height, width, 3) uint8.

    Read in parts, from the best level: memory is that of the cells and of a few parts.
    """
    step = factor * cell
    fine = step // FINER
    width, height = (ceil_div(side, step) for side in slide.size)
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


def save_foreground(path: Path, foreground: Foreground, record: SlideRecord) -> None:
    """Write the map as a one-level TIFF of 0 and 255, a pixel a cell."""
    header = {
        "slide": record.slide,
        "cell": foreground.cell,
        "factor": record.factor,
        "saturation": foreground.saturation,
        "fingerprint": record.fingerprint,
        "density": foreground.density,
    }
    height, width = foreground.mask.shape
    mpp = record.working_mpp * foreground.cell
    write_rows(path, [foreground.mask], (width, height), mpp, header)


def load_foreground(path: Path, record: SlideRecord | None = None) -> Foreground:
    """Read a map that `save` wrote.

    Raises:
        HolohistoError: missing, damaged, or of another slide than `record`.
    """
    with Raster(path) as raster:
        header = raster.header
        if "cell" not in header:
            raise HolohistoError(path, "is not a map of `holohisto foreground`")
        if record is not None and header.get("fingerprint") != record.fingerprint:
            raise HolohistoError(
                path,
                "was made from another image",
                found=f"slide {header.get('slide')}",
                allowed=f"slide {record.slide} as checked",
                advice="run `holohisto foreground`",
            )
        mask = raster.read((0, 0), raster.size) > 0
    density = header.get("density")
    return Foreground(
        mask, int(header["cell"]), float(header["saturation"]), tuple(density) if density else None
    )
