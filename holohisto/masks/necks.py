"""Touching objects are split at their necks, so that two joined glomeruli become two objects.

The distance to the outline is highest in the middle of a round object. From one middle to another
it falls to half the width of the neck between them. A middle counts if, on the way to any higher
middle, the distance falls below a share of its own: a maximum of the opening by reconstruction of
the distance (Vincent, 10.1109/83.217222), relative instead of absolute, so that the size of objects
does not matter.
The cut is the watershed line between the middles, one pixel wide.
"""

import numpy as np
from scipy import ndimage
from skimage.measure import label
from skimage.morphology import local_maxima, reconstruction
from skimage.segmentation import watershed

from holohisto.masks import runs as rle
from holohisto.masks.components import BOTTOM, LEFT, RIGHT, TOP, Table
from holohisto.masks.runs import NOTHING, Runs
from holohisto.runtime.arithmetic import ceil_div

LARGEST = 2**22
"""Pixels of the largest box whose object is split; larger ones are not, to bound memory."""
GLANCE = 64
"""Longer side to which an object is reduced for a first test: most have a single middle."""
ALLOWANCE = 0.1
"""Added to the ratio in the first test, because its pixels are coarse."""
ALIKE = 0.5
"""Joined objects have similar sizes; a piece below this share of the largest piece is more likely a
ragged edge."""
SQUARE = np.ones((3, 3), bool)


class Necks:
    """The cuts through the objects of one class, found in one pass over its runs."""

    def __init__(self, table: Table, ratio: float, min_pixels: float) -> None:
        """Choose the objects that may be two.

        Args:
            table: Measures of all objects.
            ratio: An object is cut at necks narrower than this share of the smaller piece's width.
            min_pixels: Smallest area of a piece, pixels; `ALIKE` is a second limit.
        """
        self.box, self.ratio, self.least = table.box, ratio, max(min_pixels, 1.0)
        sides = table.box[:, [RIGHT, BOTTOM]] - table.box[:, [LEFT, TOP]]
        self.wanted = (table.area >= 2 * self.least) & (sides.prod(axis=1) <= LARGEST)
        self._open, self._open_number = NOTHING, np.zeros(0, np.int64)
        self._cuts: list[Runs] = [NOTHING]

    def feed(self, runs: Runs, number: np.ndarray, end: int) -> None:
        """Add the next runs of the mask; objects that end above row `end` are cut.

        Args:
            runs: Runs of all rows from the last `end` to this one.
            number: Row in the table of the object of each run, (n,) int.
            end: Row after the last.
        """
        wanted = self.wanted[number]
        runs = rle.chain([self._open, runs[wanted]])
        number = np.concatenate([self._open_number, number[wanted]])
        whole = self.box[number, BOTTOM] <= end
        for k in np.unique(number[whole]):
            self._cuts.append(self._through(runs[number == k], self.box[k]))
        self._open, self._open_number = runs[~whole], number[~whole]

    def _through(self, runs: Runs, box: np.ndarray) -> Runs:
        left, top, right, bottom = box.tolist()
        inside = Runs(runs.y, runs.start - left, runs.end - left)
        mask = rle.paint(inside, (top, bottom), right - left)
        line = rle.find(cut(mask, self.ratio, self.least), top)
        return Runs(line.y, line.start + left, line.end + left)

    @property
    def cuts(self) -> Runs:
        """Pixels to remove, in reading order."""
        every = rle.chain(self._cuts)
        return every[np.lexsort((every.start, every.y))]


def cut(mask: np.ndarray, ratio: float, least: float) -> np.ndarray:
    """Return the pixels to remove so that an object is split at its necks.

    Args:
        mask: The object, (h, w) bool.
        ratio: See `Necks`.
        least: Smallest area of a piece, pixels.

    Returns:
        (h, w) bool, a subset of `mask`.
    """
    step = ceil_div(max(mask.shape), GLANCE)
    if step > 1:
        coarse = _filled(mask[step // 2 :: step, step // 2 :: step])
        if _middles(_distance(coarse), min(ratio + ALLOWANCE, 1.0))[1] < 2:
            return np.zeros_like(mask)
    filled = _filled(mask)
    distance = _distance(filled)
    middles, count = _middles(distance, ratio)
    line = np.zeros_like(filled)
    while count > 1:
        pieces = watershed(-distance, middles, 2, mask=filled)  # `watershed_line` may not end
        line = ndimage.maximum_filter(pieces, footprint=SQUARE) > pieces
        area = np.bincount(pieces[1:-1, 1:-1][mask & ~line[1:-1, 1:-1]], minlength=count + 1)[1:]
        smallest = int(area.argmin())
        if area[smallest] >= max(least, ALIKE * area.max()):
            break
        middles[middles == smallest + 1] = 0
        middles[middles == count] = smallest + 1  # numbers stay without a gap
        count -= 1
    return mask & line[1:-1, 1:-1] if count > 1 else np.zeros_like(mask)


def _filled(mask: np.ndarray) -> np.ndarray:
    """The mask with a margin of one pixel and all holes filled, (h + 2, w + 2) bool."""
    outside = np.asarray(label(~np.pad(mask, 1), connectivity=1))
    return outside != outside[0, 0]


def _distance(filled: np.ndarray) -> np.ndarray:
    """Distance of each pixel to the outline, (h, w) float32."""
    return np.asarray(ndimage.distance_transform_edt(filled), np.float32)


def _middles(distance: np.ndarray, ratio: float) -> tuple[np.ndarray, int]:
    """Return the middles that count, numbered from 1, (h, w) int, and their number."""
    lowered = reconstruction(ratio * distance, distance, footprint=SQUARE)
    middles = np.asarray(label(local_maxima(lowered, connectivity=2), connectivity=2))
    return middles, int(middles.max())
