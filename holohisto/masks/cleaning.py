"""What is delivered of the labels: holes filled, touching objects cut apart, poor ones dropped."""

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
    """Opens an iterator over bands (BAND, width) uint8, bit i = class i; the last may be less."""

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

    A hole is free of the class and does not touch the border of the slide. First holes below
    the limit are filled, then objects are cut apart, then those too small or too unlikely are
    dropped: what lies in a filled hole belongs to the object around it.
    """

    def __init__(
        self,
        bit: int,
        size: tuple[int, int],
        min_pixels: float,
        max_hole: float,
        min_probability: float = 0.0,
    ) -> None:
        """Prepare for class `bit`; areas in pixels, 0 for no cleaning."""
        self.bit, self.size = bit, size
        self.holes = Components(diagonal=False, wanted=lambda table: self._hole(table, max_hole))
        self.has_holes = max_hole > 0
        self.min_pixels, self.min_probability = min_pixels, min_probability
        self.cut(NOTHING)

    def cut(self, cuts: Runs) -> None:
        """Take these pixels away; objects have to be measured anew then."""
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

    def apart(self, labels: np.ndarray, rows: tuple[int, int], band: int) -> Runs:
        """Runs of the class, filled and cut apart."""
        low, high = np.searchsorted(self.cuts.y, rows)
        return rle.without(self.filled(labels, rows, band), self.cuts[low:high])

    def runs(self, labels: np.ndarray, rows: tuple[int, int], band: int) -> tuple[Runs, np.ndarray]:
        """Runs as delivered, and of each its object's row in `table`, (n,) int32."""
        runs = self.apart(labels, rows, band)
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

    One pass measures them; one before it finds holes; one after it looks for necks, and if there
    are any, one more measures what was cut.

    Args:
        bands: labels at working resolution.
        bits: classes to look at.
        pixel_um2: area of a working pixel.
        options: the limits, areas in µm².
        probability: for the mean probability of each object; with `min_probability`, needed.
        names: of the classes, by bit, where `options` goes by them; without, objects are neither
            cut apart nor dropped for their probability.
    """
    areas = (options.min_object_um2 / pixel_um2, options.max_hole_um2 / pixel_um2)
    necks = {bit: options.split_touching.get(name, 0.0) for bit, name in enumerate(names)}
    likely = {bit: options.min_probability.get(name, 0.0) for bit, name in enumerate(names)}
    found = {bit: Objects(bit, bands.size, *areas, likely.get(bit, 0.0)) for bit in bits}
    if options.max_hole_um2 > 0:
        for _, rows, labels in bands:
            for item in found.values():
                free = rle.complement(item.raw(labels, rows), rows, bands.size[0])
                item.holes.feed(free, rows)
        for item in found.values():
            item.holes.finish()
    _measure(bands, found.values(), probability)
    _cut_apart(bands, {found[bit]: necks[bit] for bit in bits if necks.get(bit)}, probability)
    return found


def _measure(bands: Bands, objects: Iterable[Objects], probability: Probability | None) -> None:
    """Find what belongs together, and measure it."""
    values = probability.read() if probability else None
    for band, rows, labels in bands:
        coarse = next(values) if values else None
        for item in objects:
            runs = item.apart(labels, rows, band)
            weight = None
            if coarse is not None and probability is not None:
                weight = rle.sums(runs, coarse, rows[0], probability.divisor)
            item.kept.feed(runs, rows, weight)
    for item in objects:
        item.kept.finish()


def _cut_apart(bands: Bands, ratios: dict[Objects, float], probability: Probability | None) -> None:
    """Cut the measured objects at their necks, and measure the parts."""
    necks = {item: Necks(item.table, ratio, item.min_pixels) for item, ratio in ratios.items()}
    necks = {item: one for item, one in necks.items() if one.wanted.any()}
    if not necks:
        return
    for band, rows, labels in bands:
        for item, one in necks.items():
            one.feed(*item.runs(labels, rows, band), rows[1])
    changed = {item: one.cuts for item, one in necks.items() if len(one.cuts)}
    if changed:
        for item, cuts in changed.items():
            item.cut(cuts)
        _measure(bands, changed, probability)
