"""Which pages of a TIFF are the levels of the slide, and which are other pictures."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from holohisto.slide.tiff import Page, whole_downsample

BESIDE = re.compile(r"\b(label|macro|thumbnail|overview|barcode)\b", re.IGNORECASE)
"""Names of pictures that scanners store beside the slide."""
PLAIN = ("ome", "generic", "shaped", "uniform")
"""Kinds of tifffile's series in which any may be the slide; vendors' kinds list the slide first."""
ALIKE = 30.0
"""Largest median difference between a level and the slide, at the same places."""
SPOT = 8
"""Side of the places where they are compared, pixels of the level."""
LARGEST_READ = 1024
NAMED_SHARE = 0.05
"""Smallest area, as a share of the slide's, of another picture that a warning names."""


@dataclass(frozen=True)
class SlidePages:
    """The pages of the slide in a TIFF."""

    series: Any
    """tifffile's series that is the slide."""
    index: int
    """Its number in the file."""
    levels: list[Any]
    """tifffile's page of each level, the full resolution first."""
    others: list[str]
    """Other pictures of the file that may be slides too, in words."""


def level_pages(tiff: tifffile.TiffFile) -> list[Any]:
    """Return tifffile's page of each level of the slide, the full resolution first."""
    return slide_pages(tiff).levels


def slide_pages(tiff: tifffile.TiffFile) -> SlidePages:
    """Find the slide in a TIFF: the largest picture that is no label, macro or thumbnail.

    tifffile finds only pyramids whose pages follow one another in a constant step of 2, 3 or 4.
    In a plain TIFF, any page of the same kind that is an integer reduction of the slide is a level,
    whatever its place; one that is not marked as reduced has to show the same picture, too.
    """
    every: list[Any] = list(tiff.series)
    first: Any = every[0]
    index = 0
    if first.kind in PLAIN and len(every) > 1:
        index = max(range(len(every)), key=lambda i: (not _beside(every[i]), _area(every[i]), -i))
    series = every[index]
    levels = [level.pages[0] for level in series.levels]
    if series.kind in PLAIN and series.kind != "ome" and len(series.levels[0].pages) == 1:
        levels = _plain_levels(tiff, levels)
    return SlidePages(series, index, levels, _others(every, index, levels))


def _plain_levels(tiff: tifffile.TiffFile, found: list[Any]) -> list[Any]:
    """The levels of a plain TIFF, whose full resolution is the first page of `found`."""
    first = found[0].keyframe
    sizes = {_size(first): found[0]}
    for page in map(keyframe, tiff.pages):
        if page.subfiletype & 4 or _kind(page) != _kind(first) or _text(page):
            continue
        reduced = whole_downsample(_size(first), _size(page))
        if reduced is None or reduced == 1 or _size(page) in sizes:
            continue
        if page.subfiletype & 1 or _alike(Path(tiff.filehandle.path), first, page, reduced):
            sizes[_size(page)] = page
    for page in found[1:]:  # tifffile's own levels, whose steps need not be whole
        frame = keyframe(page)
        if _kind(frame) == _kind(first) and frame.subfiletype & 1:
            sizes.setdefault(_size(frame), page)
    return [sizes[size] for size in sorted(sizes, reverse=True)]


def _alike(path: Path, first: Any, page: Any, reduced: int) -> bool:
    """Whether a page shows the slide: its pixels are means of the slide's at nine places."""
    side = max(1, min(SPOT, LARGEST_READ // reduced))
    width, height = _size(page)
    if min(width, height) < side or first.dtype != np.uint8:
        return True
    handle = os.open(path, os.O_RDONLY)
    try:
        large, small = Page(path, handle, first), Page(path, handle, page)
        gaps = []
        for x in np.linspace(0, width - side, 5).astype(int)[1:4].tolist():
            for y in np.linspace(0, height - side, 5).astype(int)[1:4].tolist():
                whole = large.read(
                    x * reduced,
                    y * reduced,
                    min(side * reduced, large.size[0] - x * reduced),
                    min(side * reduced, large.size[1] - y * reduced),
                )
                part = small.read(x, y, side, side)
                gaps.append(np.abs(whole.mean(axis=(0, 1)) - part.mean(axis=(0, 1))).max())
    finally:
        os.close(handle)
    return float(np.median(gaps)) <= ALIKE


def _others(every: list[Any], index: int, levels: list[Any]) -> list[str]:
    """Name the other pictures that may be slides: large, and no level, label or macro."""
    known = {page.keyframe.index for page in levels}
    least = NAMED_SHARE * _area(every[index])
    return [
        f"{series.name or 'without name'} ({series.levels[0].pages[0].keyframe.imagewidth}"
        f"x{series.levels[0].pages[0].keyframe.imagelength})"
        for number, series in enumerate(every)
        if number != index
        and series.kind in PLAIN
        and not _beside(series)
        and _area(series) >= least
        and series.levels[0].pages[0].keyframe.index not in known
    ]


def _beside(series: Any) -> bool:
    """Whether a series is a label, macro or thumbnail, by its name or description."""
    page = series.levels[0].pages[0].keyframe
    return bool(BESIDE.search(series.name or "")) or (series.kind != "ome" and _text(page))


def _text(page: Any) -> bool:
    name = page.tags.get("PageName")
    return bool(BESIDE.search(f"{(page.description or '')[:1000]} {name.value if name else ''}"))


def _area(series: Any) -> int:
    page = series.levels[0].pages[0].keyframe
    return page.imagewidth * page.imagelength


def keyframe(page: Any) -> Any:
    """Return the page of tifffile that holds a page's tags."""
    return page.keyframe


def _size(page: Any) -> tuple[int, int]:
    return page.imagewidth, page.imagelength


def _kind(page: Any) -> tuple[Any, ...]:
    """The properties that all levels of a pyramid share."""
    return page.dtype, page.samplesperpixel, page.photometric, page.planarconfig, page.is_tiled
