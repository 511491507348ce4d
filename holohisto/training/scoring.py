"""Dice of a segmenter over the tiles of an annotated slide, whatever computes it; without torch."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np

from holohisto.runtime.prefetch import prefetch
from holohisto.tiles.grid import Tile
from holohisto.training.sampler import SamplingArea, foreground_tiles
from holohisto.training.slides import Batch, TrainingSlide, View, stack

Item = TypeVar("Item")
SlideTile = tuple[TrainingSlide, Tile]
"""A tile of a slide, working pixels."""
Count = Callable[[Batch], np.ndarray]
"""Segments a batch and returns its true positive, false positive and false negative known pixels,
(3, C) int64."""


class Reads(NamedTuple):
    """What a segmenter reads of a tile."""

    tokens: bool
    """Whether it reads from the token map."""
    pixels: bool


def slide_dice(
    count: Count,
    reads: Reads,
    slide: TrainingSlide,
    tile: tuple[int, int],
    snap: int,
    most_tiles: int | None = None,
    parallel: int = 0,
) -> np.ndarray:
    """Return the Dice of a slide per class, (C,) float64, NaN where the class is unknown.

    A class that is neither annotated nor predicted scores 1.

    Args:
        count: Segments a tile and counts.
        reads: What the segmenter reads.
        slide: The annotated slide.
        tile: Width and height of a tile, working pixels; limited to the slide's size.
        snap: Tile origins are multiples of it.
        most_tiles: As of `scored_tiles`.
        parallel: Threads that segment side by side; 0: one does, while another one reads.
    """

    def read(tile: Tile) -> Batch:
        return scored_batch((slide, tile), reads)

    tiles = scored_tiles(slide.area, tile, snap, most_tiles)
    counts = np.zeros((3, len(slide.known)), np.int64)
    for tile_counts in prefetch(count, prefetch(read, tiles, 1), parallel):
        counts += tile_counts
    tp, fp, fn = counts
    dice = np.where(tp + fp + fn == 0, 1.0, 2 * tp / np.maximum(2 * tp + fp + fn, 1))
    return np.where(slide.known, dice, np.nan)


def scored_tiles(
    area: SamplingArea, tile: tuple[int, int], snap: int, most_tiles: int | None = None
) -> list[Tile]:
    """Return the tiles over which the Dice of a slide is computed, row by row.

    Args:
        area: Size and foreground of the slide.
        tile: Width and height of a tile, working pixels; limited to the slide's size.
        snap: Tile origins are multiples of it.
        most_tiles: Of more foreground tiles, this many at equal intervals are taken; None: all are.
    """
    width, height = (min(t, s) for t, s in zip(tile, area.size, strict=True))
    return evenly(foreground_tiles(area, (width, height), snap), most_tiles)


def scored_batch(slide_tile: SlideTile, reads: Reads) -> Batch:
    """Read one tile; what the tiles above and to its left show is unknown, to count once."""
    slide, tile = slide_tile
    batch = stack([View(slide, tile)], reads.tokens, reads.pixels)
    batch.known[:, :, : -tile.y % tile.height] = False
    batch.known[:, :, :, : -tile.x % tile.width] = False
    return batch


def counts_of(found: np.ndarray, batch: Batch) -> np.ndarray:
    """Return true positive, false positive and false negative known pixels, (3, C) int64.

    Args:
        found: Where each class is found, (B, C, H, W) bool.
        batch: The tiles.
    """
    predicted, truth = found & batch.known, batch.target & batch.known
    masks = (predicted & truth, predicted & ~truth, ~predicted & truth)
    return np.stack([mask.sum(axis=(0, 2, 3)) for mask in masks])


def evenly(items: list[Item], most: int | None) -> list[Item]:
    """Return at most `most` items, at equal intervals; None: all of them."""
    if most is None or len(items) <= most:
        return items
    return [items[len(items) * n // most] for n in range(most)]
