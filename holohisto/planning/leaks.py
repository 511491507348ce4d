"""Pictures that are in several splits under different names: copies, links, reduced versions."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from holohisto.errors import HolohistoError
from holohisto.sheet.cells import Row
from holohisto.slide import Slide
from holohisto.slide.integrity import file_bytes
from holohisto.slide.pictures import open_picture

SAMPLES, SAMPLE_BYTES = 16, 2**16
"""Number and length of the pieces of a file that are compared, evenly spread."""
SIDE = 32
"""Width and height of the overviews that are compared."""
PROPORTIONS = 0.02
"""Largest relative difference between the proportions of one picture at two resolutions."""
ALIKE = 0.99
"""Correlation of the brightness of two overviews from which they show the same picture. Different
sections of one piece of tissue stay below."""
NAMED = 3
"""Largest number of look-alikes that a sentence names."""
View = tuple[float, np.ndarray]
"""Width by height of a slide, and the brightness of its overview, (SIDE, SIDE) float64."""
BLOCK = 1024
"""Number of overviews that are compared with all others at a time."""
FLAT = 2.0
"""Standard deviation of brightness below which an overview shows too little to be compared."""


def same_files(sheet: Path, rows: Iterable[Row]) -> list[str]:
    """Return a mistake for each picture that is in several splits as equal files.

    Costs one `stat` for each picture, and reads pieces of those whose lengths are equal.

    Args:
        sheet: The sheet, for the messages.
        rows: Its rows; missing and empty files, excluded rows and the split predict are skipped.
    """
    by_length: dict[tuple[int, ...], list[Row]] = defaultdict(list)
    for row in _in_splits(rows):
        if os.path.isfile(row.image) and os.path.getsize(row.image):
            by_length[_lengths(row.image)].append(row)
    by_content: dict[str, list[Row]] = defaultdict(list)
    for alike in by_length.values():
        if len({row.split for row in alike}) > 1:
            for row in alike:
                by_content[_digest(row.image)].append(row)
    return [
        _mistake(sheet, group[0], other)
        for group in by_content.values()
        for other in group
        if other.split != group[0].split
    ]


def same_pictures(sheet: Path, rows: Iterable[Row]) -> list[str]:
    """Return a mistake for each pair of slides in two splits that look the same.

    Overviews are compared, so that a level saved as a file of its own, or the slide in another
    format, is found. Every slide is opened.

    Args:
        sheet: The sheet, for the messages.
        rows: Rows whose slides can be read.
    """
    slides = _in_splits(rows)
    return [
        _mistake(sheet, slides[one], slides[other])
        for one, other in _look_alikes([_overview(row.image) for row in slides])
        if slides[one].split != slides[other].split
    ]


def same_views(rows: Iterable[Row], picture: Callable[[str], Path]) -> dict[str, str]:
    """Return a sentence on each slide that looks like one of another split.

    The pictures that `foreground` made of the slides are compared, so a level saved as a file of
    its own, or the slide in another format, is found without opening slides.

    Args:
        rows: Rows of the sheet; excluded rows and the split predict are skipped.
        picture: Returns the path of a slide's picture; missing and damaged ones are skipped.
    """
    views = [(row, view) for row in _in_splits(rows) if (view := _view(picture(row.slide)))]
    alike: dict[str, list[str]] = defaultdict(list)
    for one, other in _look_alikes([view for _, view in views]):
        (row, _), (row_2, _) = views[one], views[other]
        if row.split != row_2.split:
            alike[row.slide].append(f"{row_2.slide} ({row_2.split})")
            alike[row_2.slide].append(f"{row.slide} ({row.split})")
    return {
        slide: f"shows the same picture as {', '.join(others[:NAMED])}, in another split:"
        " scores of one that was trained on are too high"
        for slide, others in alike.items()
    }


def _look_alikes(views: list[View]) -> Iterator[tuple[int, int]]:
    """Yield the numbers of views that show the same picture, the smaller one first."""
    if not views:
        return
    pixels = np.stack([brightness.ravel() for _, brightness in views]).astype(np.float32)
    pixels -= pixels.mean(axis=1, keepdims=True)
    spread = pixels.std(axis=1, keepdims=True)
    pixels /= np.maximum(spread, 1e-6) * SIDE  # so that products of rows are correlations
    pixels[spread[:, 0] < FLAT] = 0
    shapes = np.array([shape for shape, _ in views])
    for start in range(0, len(views), BLOCK):
        end = min(start + BLOCK, len(views))
        same = pixels[start:end] @ pixels.T > ALIKE
        same &= np.abs(shapes[start:end, None] / shapes - 1) < PROPORTIONS
        for one, other in np.argwhere(same).tolist():
            if start + one < other:
                yield start + one, other


def _view(path: Path) -> View | None:
    """Proportions and brightness of a picture; None where it cannot be read."""
    try:
        with open_picture(path) as picture:
            proportions = picture.width / picture.height
            picture.draft("RGB", (8 * SIDE, 8 * SIDE))  # a JPEG is decoded reduced
            return proportions, _brightness(np.asarray(picture.convert("RGB")))
    except (OSError, HolohistoError, SyntaxError, ValueError):  # Pillow's, of damaged pictures
        return None


def _in_splits(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if not row.exclude and row.split != "predict"]


def _lengths(image: Path) -> tuple[int, ...]:
    return tuple(path.stat().st_size for path in file_bytes(image))


def _digest(image: Path) -> str:
    """Hash of pieces of the files that hold a slide."""
    digest = hashlib.sha256()
    for path in file_bytes(image):
        length = path.stat().st_size
        with path.open("rb") as file:
            for sample in range(SAMPLES + 1):
                file.seek(max(0, length - SAMPLE_BYTES) * sample // SAMPLES)
                digest.update(file.read(SAMPLE_BYTES))
    return digest.hexdigest()


def _overview(image: Path) -> View:
    """Width by height of a slide, and the brightness of its overview, (SIDE, SIDE) float64."""
    with Slide(image) as slide:
        rgb, _ = slide.overview(8 * SIDE)
        proportions = slide.size[0] / slide.size[1]
    return proportions, _brightness(rgb)


def _brightness(rgb: np.ndarray) -> np.ndarray:
    """Brightness of SIDE x SIDE equal parts of a picture, (SIDE, SIDE) float64."""
    grey = rgb.astype(np.float64).mean(axis=2)
    return np.stack([_means(row) for row in _means(grey)])


def _means(values: np.ndarray) -> np.ndarray:
    """Means of SIDE equal parts along the first axis."""
    ends = np.linspace(0, len(values), SIDE + 1)
    parts = [(int(a), max(int(a) + 1, int(b))) for a, b in pairwise(ends)]
    return np.stack([values[start:end].mean(axis=0) for start, end in parts])


def _mistake(sheet: Path, one: Row, other: Row) -> str:
    where = " and ".join(f"{row.slide} ({row.split}, line {row.line})" for row in (one, other))
    return f"{sheet}: column image: {where} show the same picture; keep it in one split"
