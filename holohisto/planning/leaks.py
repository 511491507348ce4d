"""Pictures that are in several splits under different names: copies, links, reduced versions."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np

from holohisto.sheet.cells import Row
from holohisto.slide import Slide
from holohisto.slide.integrity import file_bytes

SAMPLES, SAMPLE_BYTES = 16, 2**16
"""Number and length of the pieces of a file that are compared, evenly spread."""
SIDE = 32
"""Width and height of the overviews that are compared."""
PROPORTIONS = 0.02
"""Largest relative difference between the proportions of one picture at two resolutions."""
ALIKE = 0.99
"""Correlation of the brightness of two overviews from which they show the same picture. Different
sections of one piece of tissue stay below."""
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
    slides = [(row, *_overview(row.image)) for row in _in_splits(rows)]
    return [
        _mistake(sheet, one, other)
        for (one, shape, overview), (other, shape_2, overview_2) in combinations(slides, 2)
        if one.split != other.split
        and abs(shape / shape_2 - 1) < PROPORTIONS
        and _correlation(overview, overview_2) > ALIKE
    ]


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


def _overview(image: Path) -> tuple[float, np.ndarray]:
    """Width by height of a slide, and the brightness of its overview, (SIDE, SIDE) float64."""
    with Slide(image) as slide:
        rgb, _ = slide.overview(8 * SIDE)
        proportions = slide.size[0] / slide.size[1]
    grey = rgb.astype(np.float64).mean(axis=2)
    return proportions, np.stack([_means(row) for row in _means(grey)])


def _means(values: np.ndarray) -> np.ndarray:
    """Means of SIDE equal parts along the first axis."""
    ends = np.linspace(0, len(values), SIDE + 1)
    parts = [(int(a), max(int(a) + 1, int(b))) for a, b in pairwise(ends)]
    return np.stack([values[start:end].mean(axis=0) for start, end in parts])


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    if min(one.std(), other.std()) < FLAT:
        return 0.0
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def _mistake(sheet: Path, one: Row, other: Row) -> str:
    where = " and ".join(f"{row.slide} ({row.split}, line {row.line})" for row in (one, other))
    return f"{sheet}: column image: {where} show the same picture; keep it in one split"
