"""Cleaning of labels: fill holes, split touching objects at their necks, drop poor objects."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from holohisto.config.sections import MaskOptions
from holohisto.masks import runs as rle
from holohisto.masks.components import BOTTOM, LEFT, RIGHT, TOP, Components, Table
from holohisto.masks.necks import Necks
from holohisto.masks.runs import NOTHING, Runs

BAND = 512
"""Rows of a band: a row of TIFF tiles, and a multiple of the probability map's pixel."""


@dataclass(frozen=True)
class Bands:
    """Labels that can be read again and again, band by band, from the top."""

    size: tuple[int, int]
    """Width and height."""
    read: Callable[[], Iterator[np.ndarray]]
    """Opens an iterator over bands (BAND, width) uint8, bit i = class i; the last may be lower."""

    def __iter__(self) -> Iterator[tuple[int, tuple[int, int], np.ndarray]]:
        """Yield number, (first row, row after the last) and labels of each band."""
        for band, labels in enumerate(self.read()):
            yield band, (band * BAND, band * BAND + len(labels)), labels


@dataclass(frozen=True)
class Probability:
    """The coarse map of the highest class probability."""

    read: Callable[[], Iterator[np.ndarray]]
    """Opens an iterator over bands (BAND / divisor, columns) uint8."""
    divisor: int
    """Label pixels to a value, in both directions."""


class Objects:
    """The objects of one class, 8-connected; their holes are 4-connected.

    A hole is an area without the class that does not touch the border of the slide. First holes
    below the limit are filled, then touching objects are split, then objects too small or too
    unlikely are dropped. An object in a filled hole joins the object around it.
    """

    def __init__(
        self,
        bit: int,
        size: tuple[int, int],
        min_pixels: float,
        max_hole: float,
        min_probability: float = 0.0,
    ) -> None:
        """Prepare for one class.

        Args:
            bit: Bit of the class in the labels.
            size: Width and height of the labels, pixels.
            min_pixels: Area below which objects are dropped, pixels.
            max_hole: Area below which holes are filled, pixels.
            min_probability: Mean probability below which objects are dropped.
        """
        self.bit, self.size = bit, size
        self.holes = Components(diagonal=False, wanted=lambda table: self._hole(table, max_hole))
        self.has_holes = max_hole > 0
        self.min_pixels, self.min_probability = min_pixels, min_probability
        self.cut(NOTHING)

    def cut(self, cuts: Runs) -> None:
        """Remove these pixels; the objects must be measured again."""
        self.cuts = cuts
        self.kept = Components(diagonal=True, wanted=self._object)

    def _object(self, table: Table) -> np.ndarray:
        large = table.area >= self.min_pixels * (1 - 1e-9)
        return large & (table.probability >= self.min_probability - 1e-9)

    def _hole(self, table: Table, limit: float) -> np.ndarray:
        box, (width, height) = table.box, self.size
        inside = (box[:, LEFT] > 0) & (box[:, TOP] > 0)
        inside &= (box[:, RIGHT] < width) & (box[:, BOTTOM] < height)
        return inside & (table.area < limit * (1 - 1e-9))

    @property
    def table(self) -> Table:
        """Measures of the delivered objects, in working pixels."""
        return self.kept.table

    def raw(self, labels: np.ndarray, rows: tuple[int, int]) -> Runs:
        """Runs of the class before cleaning."""
        return rle.find((labels >> self.bit) & 1 != 0, rows[0])

    def filled(self, labels: np.ndarray, rows: tuple[int, int], band: int) -> Runs:
        """Runs of the class with its small holes filled."""
        runs = self.raw(labels, rows)
        if not self.has_holes or not len(self.holes.table):
            return runs
        free = rle.complement(runs, rows, self.size[0])
        return rle.merge(runs, free[self.holes.number(free, band) >= 0])

    def split(self, labels: np.ndarray, rows: tuple[int, int], band: int) -> Runs:
        """Runs of the class with holes filled and touching objects split."""
        low, high = np.searchsorted(self.cuts.y, rows)
        return rle.without(self.filled(labels, rows, band), self.cuts[low:high])

    def runs(self, labels: np.ndarray, rows: tuple[int, int], band: int) -> tuple[Runs, np.ndarray]:
        """Delivered runs, and the row in `table` of the object of each, (n,) int32."""
        runs = self.split(labels, rows, band)
        number = self.kept.number(runs, band)
        kept = number >= 0
        return runs[kept], number[kept]


def find(
    bands: Bands,
    bits: list[int],
    pixel_um2: float,
    options: MaskOptions,
    probability: Probability | None = None,
    names: Sequence[str] = (),
) -> dict[int, Objects]:
    """Find the objects of the classes `bits`, in passes over the bands.

    The first pass finds holes, the second measures objects, the third finds necks, and if there are
    any, a fourth measures the split objects.

    Args:
        bands: Labels at working resolution.
        bits: Bits of the classes.
        pixel_um2: Area of a working pixel, µm².
        options: The limits, areas in µm².
        probability: Gives the mean probability of each object; needed by `min_probability`.
        names: Names of the classes, by bit; without them, objects are neither split nor dropped for
            their probability, as these options go by name.

    Returns:
        The objects of each class, by its bit.
    """
    areas = (options.min_object_um2 / pixel_um2, options.max_hole_um2 / pixel_um2)
    necks = {bit: options.split_touching.get(name, 0.0) for bit, name in enumerate(names)}
    least = {bit: options.min_probability.get(name, 0.0) for bit, name in enumerate(names)}
    objects = {bit: Objects(bit, bands.size, *areas, least.get(bit, 0.0)) for bit in bits}
    if options.max_hole_um2 > 0:
        for _, rows, labels in bands:
            for item in objects.values():
                free = rle.complement(item.raw(labels, rows), rows, bands.size[0])
                item.holes.feed(free, rows)
        for item in objects.values():
            item.holes.finish()
    _measure(bands, objects.values(), probability)
    _split_touching(
        bands, {objects[bit]: necks[bit] for bit in bits if necks.get(bit)}, probability
    )
    return objects


def _measure(bands: Bands, objects: Iterable[Objects], probability: Probability | None) -> None:
    """Find and measure the connected objects."""
    values = probability.read() if probability else None
    for band, rows, labels in bands:
        coarse = next(values) if values else None
        for item in objects:
            runs = item.split(labels, rows, band)
            weight = None
            if coarse is not None and probability is not None:
                weight = rle.sums(runs, coarse, rows[0], probability.divisor)
            item.kept.feed(runs, rows, weight)
    for item in objects:
        item.kept.finish()


def _split_touching(
    bands: Bands, ratios: dict[Objects, float], probability: Probability | None
) -> None:
    """Split the measured objects at their necks, and measure the resulting objects."""
    necks = {item: Necks(item.table, ratio, item.min_pixels) for item, ratio in ratios.items()}
    necks = {item: its_necks for item, its_necks in necks.items() if its_necks.wanted.any()}
    if not necks:
        return
    for band, rows, labels in bands:
        for item, its_necks in necks.items():
            its_necks.feed(*item.runs(labels, rows, band), rows[1])
    changed = {item: its_necks.cuts for item, its_necks in necks.items() if len(its_necks.cuts)}
    if changed:
        for item, cuts in changed.items():
            item.cut(cuts)
        _measure(bands, changed, probability)
