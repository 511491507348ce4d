"""Find every damaged tile that the steps after `foreground` may read."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product

import tifffile

from holohisto.runtime import progress
from holohisto.slide.pages import level_pages
from holohisto.slide.probe import is_tiff
from holohisto.slide.scale import Scale
from holohisto.slide.slide import Slide
from holohisto.slide.tiff import Page

READERS = 4
"""Threads that decode tiles."""
SIDE = 2048
"""Side of the regions in which a slide is read that is no TIFF of known pages, pixels."""


def verify(slide: Slide, scale: Scale) -> None:
    """Decode all tiles of the finest level that is read at a scale, and of all coarser levels.

    Readers return noise for most damaged tiles, without an error. Here each tile is decoded by a
    decoder that complains. PNG and JPEG files are decoded whole, or refused, when they are read.

    Args:
        slide: The slide.
        scale: Level-0 pixels per pixel of the finest picture that will be read.

    Raises:
        HolohistoError: a tile is damaged.
    """
    levels = range(slide.level_for(scale), len(slide.levels))
    if slide.reader == "openslide":
        _run([job for level in levels for job in _regions(slide, level)])
    elif slide.reader != "array" and is_tiff(slide.path):
        _verify_pages(slide, levels)


def _verify_pages(slide: Slide, levels: range) -> None:
    """Decode all tiles of these levels of a TIFF."""
    sizes = {slide.levels[level] for level in levels}
    handle = os.open(slide.path, os.O_RDONLY)
    try:
        with tifffile.TiffFile(slide.path) as tiff:
            pages = [Page(slide.path, handle, page) for page in level_pages(tiff)]
            chosen = [page for page in pages if page.size in sizes]
            _run([partial(page.verify, i) for page in chosen for i in range(page.segments)])
    finally:
        os.close(handle)


def _regions(slide: Slide, level: int) -> Iterator[Callable[[], object]]:
    """Yield the reading of each region of a level."""
    width, height = slide.levels[level]
    for y, x in product(range(0, height, SIDE), range(0, width, SIDE)):
        yield partial(
            slide.read_level, level, (x, y), (min(SIDE, width - x), min(SIDE, height - y))
        )


def _run(jobs: list[Callable[[], object]]) -> None:
    """Run the jobs in threads; the first error ends all."""
    pool = ThreadPoolExecutor(READERS)
    try:
        results = pool.map(lambda job: job(), jobs)
        for _ in progress.track(results, len(jobs), "looking for damage", "tile"):
            pass
    finally:
        pool.shutdown(cancel_futures=True)
