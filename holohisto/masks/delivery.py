"""The delivered mask of a class: the cleaned labels, exactly enlarged to the slide's size."""

import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from holohisto.errors import HolohistoError
from holohisto.masks import runs as rle
from holohisto.masks.borders import Borders
from holohisto.masks.cleaning import Bands, Objects
from holohisto.masks.frame import Frame
from holohisto.masks.runs import Runs
from holohisto.pyramid.verify import ReadMask, verified_mask, verified_ome_mask
from holohisto.pyramid.write import write_mask_pyramid, write_ome_mask
from holohisto.runtime import progress
from holohisto.runtime.atomic import replacing
from holohisto.slide.scale import first_pixels, working_pixels

STEP = 64
"""Working rows enlarged at a time."""
WINDOW = 64
"""Side of a rectangle that is compared after writing, working pixels."""
WINDOWS = 8


class Witness:
    """Keeps some rectangles of the cleaned labels on their way to the file."""

    def __init__(self, corners: np.ndarray, size: tuple[int, int]) -> None:
        """Watch squares of side WINDOW at `corners`, (n, 2) x, y in working pixels."""
        self.corners, self.size = corners, size
        self.seen: list[tuple[tuple[int, int], np.ndarray]] = []

    def see(self, runs: Runs, rows: tuple[int, int]) -> None:
        """Keep the watched rectangles of a band, given by its runs."""
        for left, top in self.corners.tolist():
            low, high = max(top, rows[0]), min(top + WINDOW, rows[1])
            if low < high:
                right = min(left + WINDOW, self.size[0])
                self.seen.append(((left, low), _cut(runs, (low, high), (left, right))))

    def compare(self, read: ReadMask, path: Path, frame: Frame) -> None:
        """Read the rectangles back from the mask at `path`.

        Raises:
            HolohistoError: a pixel of the mask differs from the labels.
        """
        scale = frame.scale
        for (left, top), mask in self.seen:
            x, y = scale.first_pixel((left, top))
            right, bottom = scale.first_pixel((left + mask.shape[1], top + mask.shape[0]))
            columns = working_pixels(scale.x, np.arange(x, min(right, frame.size[0]))) - left
            rows = working_pixels(scale.y, np.arange(y, min(bottom, frame.size[1]))) - top
            expected = mask[np.ix_(rows, columns)] * np.uint8(255)
            if expected.size and not np.array_equal(read((x, y), expected.shape[::-1]), expected):
                raise HolohistoError(path, f"the mask differs from the labels at {(x, y)}")


def write_masks(
    pattern: str,
    bands: Bands,
    objects: dict[int, Objects],
    frame: Frame,
    names: Sequence[str],
    ome: bool,
    borders: Borders,
    outputs: ExitStack,
) -> dict[str, dict[str, int | None]]:
    """Write the masks of all classes.

    Args:
        pattern: Path of the masks, with {class} and maybe {slide} and {model}.
        bands: The labels.
        objects: The objects of each class, by its bit.
        frame: The slide.
        names: Names of the classes, in the order of their bits.
        ome: Whether each mask is written as OME-TIFF too.
        borders: Borders of the tiles.
        outputs: The files get their names when this is closed.

    Returns:
        For each class, the number of objects, and of objects at borders of tiles (None: unknown).
    """
    facts: dict[str, dict[str, int | None]] = {}
    for bit, name in enumerate(names):
        final = frame.fill(pattern, **{"class": name})
        path = outputs.enter_context(replacing(final))
        copy = outputs.enter_context(replacing(final.with_suffix(".ome.tif"))) if ome else None
        count, text = len(objects[bit].table), f"holohisto mask of {name}"
        with progress.phase(f"mask of {name}, {count} objects"):
            touching = write(path, bands, objects[bit], frame, text, copy, borders)
        facts[name] = {"objects": count, "at_borders": touching if borders.known else None}
    return facts


def write(
    path: Path,
    bands: Bands,
    objects: Objects,
    frame: Frame,
    description: str,
    ome: Path | None = None,
    borders: Borders | None = None,
) -> int:
    """Write the mask of a class and read it back: metadata, tiles and watched rectangles.

    Args:
        path: The mask to write.
        bands: The labels.
        objects: The objects of the class.
        frame: The slide.
        description: Text of the ImageDescription.
        ome: OME-TIFF of the same mask to write; None: none.
        borders: Borders of the tiles; None: objects there are not counted.

    Returns:
        Number of objects that touch a border of the tiles.

    Raises:
        HolohistoError: the file cannot be written, or does not read back as written.
    """
    rng = np.random.default_rng(zlib.crc32(f"{frame.slide}/{description}".encode()))
    corners = rng.integers(0, frame.working_size, (WINDOWS, 2))
    boxes = objects.table.box
    if len(boxes):
        chosen = boxes[rng.integers(0, len(boxes), WINDOWS), :2]
        corners = np.concatenate([corners, np.maximum(chosen - WINDOW // 4, 0)])
    witness = Witness(corners, frame.working_size)
    touching = np.zeros(len(boxes), bool)
    rows = enlarged(bands, objects, frame, witness, (borders, touching) if borders else None)
    write_mask_pyramid(path, rows, frame.size, frame.mpp, description)
    for read in verified_mask(path, frame.size, frame.mpp):
        witness.compare(read, path, frame)
    if ome is not None:
        rows = enlarged(bands, objects, frame)
        write_ome_mask(ome, rows, frame.size, frame.mpp, description)
        for read in verified_ome_mask(ome, frame.size, frame.mpp):
            witness.compare(read, ome, frame)
    return int(touching.sum())


def enlarged(
    bands: Bands,
    objects: Objects,
    frame: Frame,
    witness: Witness | None = None,
    touching: tuple[Borders, np.ndarray] | None = None,
) -> Iterator[np.ndarray]:
    """Yield the cleaned mask at level 0, (rows, width) bool, from the top.

    A level-0 pixel is that of the working pixel that its centre lies in.

    Args:
        bands: The labels.
        objects: The objects of the class.
        frame: The slide.
        witness: Sees the labels on their way.
        touching: Borders, and (objects,) bool in which objects that touch one are marked.
    """
    (width, height), scale = frame.size, frame.scale
    for band, rows, labels in bands:
        runs, number = objects.runs(labels, rows, band)
        if witness:
            witness.see(runs, rows)
        if touching:
            borders, marked = touching
            marked[number[borders.touched(runs)]] = True
        start, end = (np.minimum(first_pixels(scale.x, x), width) for x in (runs.start, runs.end))
        wide = Runs(runs.y, start, end)
        for top in range(rows[0], rows[1], STEP):
            step = (top, min(top + STEP, rows[1]))
            low, high = np.searchsorted(wide.y, step)
            mask = rle.paint(wide[low:high], step, width)
            edges = np.minimum(first_pixels(scale.y, np.arange(step[0], step[1] + 1)), height)
            yield np.repeat(mask, np.diff(edges), axis=0)


def _cut(runs: Runs, rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
    low, high = np.searchsorted(runs.y, rows)
    start, end = (np.clip(x[low:high], *columns) - columns[0] for x in (runs.start, runs.end))
    inside = start < end
    cut = Runs(runs.y[low:high][inside], start[inside], end[inside])
    return rle.paint(cut, rows, columns[1] - columns[0])
