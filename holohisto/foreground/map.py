"""The foreground map of a slide: which cells, of 16 x 16 working pixels, are tissue."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from holohisto.config.fields import Fraction
from holohisto.config.sections import ForegroundOptions
from holohisto.errors import HolohistoError
from holohisto.foreground.cells import pixels_of, rectangles_outside
from holohisto.foreground.colour import colour_of, stained_cells
from holohisto.foreground.detect import detect, saturation_and_brightness
from holohisto.foreground.ink import inked_cells, red_cells, strong_ink
from holohisto.pyramid.raster import Raster
from holohisto.pyramid.write import write_rows
from holohisto.runtime import progress
from holohisto.slide import Slide
from holohisto.slide.record import SlideRecord
from holohisto.slide.resample import block_means
from holohisto.slide.scale import Scale, ScaleField
from holohisto.slide.verify import verify
from holohisto.tiles.colour import COMMON, Colour

READ_SIDE = 2048
"""Side of the regions in which a slide is read, pixels."""
FINER = 4
"""Pixels a side whose mean is a cell. Levels of JPEG slides as coarse as a cell are blocky in
colour, so a finer level is read."""
READERS = 4
"""Threads that read regions."""


class _Header(BaseModel):
    """The header of a map's file, with the bounds of its values."""

    slide: str
    cell: Annotated[int, Field(ge=1, le=1024)]
    saturation: Fraction
    fingerprint: str
    colour: Colour | None
    ink: Fraction = 0.0
    scale: ScaleField


@dataclass(frozen=True)
class TissueFacts:
    """The colour of a slide's tissue, and how much ink of pens was found; see `Foreground`."""

    colour: Colour | None
    ink: float


@dataclass(frozen=True)
class Foreground:
    """The tissue of one slide."""

    mask: np.ndarray
    """(height, width) bool, one value per cell."""
    cell: int
    """Side of a cell, working pixels."""
    saturation: float
    """Saturation above which a cell is tissue, 0 to 1."""
    colour: Colour | None = None
    """Optical density of the tissue; None where it is not brought to the common stain."""
    ink: float = 0.0
    """Share of what is stained, tissue and ink, that looks like ink of a pen, 0 to 1."""

    @property
    def common_colour(self) -> Colour:
        """Optical density of the tissue after it is brought to the common stain."""
        return COMMON if self.colour is None else self.colour.brought_to(COMMON)

    @property
    def share(self) -> float:
        """Share of the slide that is tissue, 0 to 1."""
        return float(self.mask.mean())

    def pixels(self, xy: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
        """Return which working pixels of a rectangle are tissue.

        Args:
            xy: Top-left corner, working pixels; may lie outside the slide.
            size: Width and height, working pixels.

        Returns:
            (height, width) bool; False outside the slide.
        """
        return pixels_of(self.mask, self.cell, xy, size)

    def outside(self, xy: tuple[int, int], size: tuple[int, int]) -> Iterator[tuple[slice, slice]]:
        """Yield rectangles, rows and columns, that cover what is no tissue of a rectangle.

        Arguments as `pixels`.
        """
        return rectangles_outside(self.mask, self.cell, xy, size)


def find_foreground(
    slide: Slide, record: SlideRecord, options: ForegroundOptions, saturation: float | None
) -> Foreground:
    """Read a slide's cells and find its tissue; every tile is checked for damage before.

    Args:
        slide: The slide.
        record: Its record of `check`, with the working resolution.
        options: The configuration's section `foreground`.
        saturation: Saturation of this slide's tissue, 0 to 1; None: as `options` say.

    Raises:
        HolohistoError: no tissue was found, or a tile of the slide is damaged.
    """
    verify(slide, record.scale)
    cells = read_cells(slide, record.scale, options.cell)
    cell_um = record.working_mpp * options.cell
    glass = record.background
    mask, used = detect(cells, options, cell_um, saturation, glass)
    ink = np.zeros(mask.shape, bool)
    if options.remove_ink and mask.any():
        lit = saturation_and_brightness(cells, glass)[1] > options.black
        ink = strong_ink(cells, stained_cells(cells, mask, used, glass), lit, glass)
    everything = mask | ink
    if ink.any():
        mask, used = detect(cells, options, cell_um, saturation, glass, without=ink)
    if not mask.any():
        raise HolohistoError(
            slide.path,
            f"slide {record.slide}: no tissue found at saturation {used:.3f}",
            advice="look at the slide; set a lower saturation in the sheet's column `saturation`"
            " or by `segment --saturation` (or a smaller `foreground.min_piece_mm2`, now"
            f" {options.min_piece_mm2:g}), or exclude the slide",
        )
    colour, stained = None, stained_cells(cells, mask, used, glass)
    weak = inked_cells(cells, stained, glass)
    if options.common_stain:
        plain = stained & ~weak & ~red_cells(cells, stained, glass)
        colour = colour_of(slide, record.scale, plain, options.cell, glass)
    share = float((ink | weak).sum() / everything.sum())
    return Foreground(mask, options.cell, used, colour, share)


def read_cells(slide: Slide, scale: Scale, cell: int) -> np.ndarray:
    """Return the mean colour of each cell.

    The slide is read in regions from a level near the cells' resolution, so memory is that of the
    cells and of a few regions.

    Args:
        slide: The slide.
        scale: Level-0 pixels per working pixel.
        cell: Working pixels a side of a cell.

    Returns:
        (height, width, 3) uint8, one pixel per cell; the slide's background where cells reach
        beyond its borders.

    Raises:
        HolohistoError: the slide is damaged.
    """
    fine = scale.times(cell // FINER)
    width, height = scale.times(cell).working_size(slide.size)
    cells = np.empty((height, width, 3), np.uint8)
    side = READ_SIDE // FINER
    corners = list(product(range(0, height, side), range(0, width, side)))

    def region(corner: tuple[int, int]) -> tuple[int, int, np.ndarray]:
        top, left = corner
        size = min(side, width - left), min(side, height - top)
        fine_size = size[0] * FINER, size[1] * FINER
        pixels = slide.resampled((left * FINER, top * FINER), fine_size, fine)
        return top, left, block_means(pixels, FINER)

    with ThreadPoolExecutor(READERS) as pool:
        regions: Iterator[tuple[int, int, np.ndarray]] = pool.map(region, corners)
        total = len(corners)
        for top, left, pixels in progress.track(regions, total, "reading the slide", "region"):
            cells[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return cells


def save_foreground(path: Path, foreground: Foreground, record: SlideRecord) -> None:
    """Write the map as a one-level TIFF of 0 and 255, one pixel per cell.

    Raises:
        HolohistoError: the file cannot be written.
    """
    header = {
        "slide": record.slide,
        "cell": foreground.cell,
        "scale": record.scale.texts,
        "saturation": foreground.saturation,
        "fingerprint": record.fingerprint,
        "ink": foreground.ink,
        "colour": asdict(foreground.colour) if foreground.colour else None,
    }
    height, width = foreground.mask.shape
    mpp = record.working_mpp * foreground.cell
    write_rows(path, [foreground.mask], (width, height), mpp, header)


def load_foreground(path: Path, record: SlideRecord | None = None) -> Foreground:
    """Read a map that `save_foreground` wrote.

    Args:
        path: The map.
        record: Record of the slide that the map must belong to; None to accept any.

    Raises:
        HolohistoError: missing, damaged, no such map, or made from another image than `record`.
    """
    with Raster(path, sealed=True) as raster:
        header = _header(raster, path)
        if record is not None and header.fingerprint != record.fingerprint:
            raise HolohistoError(
                path,
                "was made from another image",
                found=f"slide {header.slide}",
                allowed=f"slide {record.slide} as checked",
                advice="run `holohisto foreground`",
            )
        if record is not None and header.scale != record.scale:
            raise HolohistoError(
                path,
                "is of another working resolution",
                found=f"{header.scale} level-0 pixels per working pixel",
                allowed=record.scale,
                advice="run `holohisto foreground`",
            )
        mask = raster.read((0, 0), raster.size) > 0
    return Foreground(mask, header.cell, header.saturation, header.colour, header.ink)


def load_tissue_facts(path: Path) -> TissueFacts:
    """Read what a map's header states of the tissue, without the map itself.

    Raises:
        HolohistoError: missing, damaged, or no such map.
    """
    with Raster(path, sealed=True) as raster:
        header = _header(raster, path)
    return TissueFacts(header.colour, header.ink)


def _header(raster: Raster, path: Path) -> _Header:
    try:
        return _Header.model_validate(raster.header)
    except ValidationError as error:
        raise HolohistoError(
            path,
            "is not a map of this version of `holohisto foreground`",
            advice="run `holohisto foreground`",
        ) from error
