"""What tokens add to a segmenter: slide Dice with the tokens as they are, left out and shuffled."""

import copy
from dataclasses import dataclass

import numpy as np

from holohisto.tokens.altered import CONDITIONS
from holohisto.tokens.needed import tissue_tokens
from holohisto.training.scoring import Count, Reads, scored_tiles, slide_dice
from holohisto.training.slides import TrainingSlide

MOST_TILES = 64
"""Tiles of a slide that are segmented; enough to see a difference of 0.05."""


@dataclass(frozen=True)
class TokenValue:
    """Score of a slide with its tokens in one condition."""

    condition: str
    """A name of `CONDITIONS`."""
    tiles: int
    """Number of tiles that were segmented."""
    dice: np.ndarray
    """(C,) float64, Dice of each class; NaN where it is unknown."""


def token_values(
    count: Count,
    reads: Reads,
    slide: TrainingSlide,
    tile: tuple[int, int],
    most_tiles: int = MOST_TILES,
    parallel: int = 0,
) -> list[TokenValue]:
    """Return the scores of a slide in all conditions, in the order of `CONDITIONS`.

    Args:
        count: Segments a tile and counts.
        reads: What the segmenter reads: tokens, and maybe pixels.
        slide: An annotated slide with its token map.
        tile: Width and height of a tile, working pixels.
        most_tiles: Of more foreground tiles, this many at equal intervals are segmented.
        parallel: Threads that segment, as of `slide_dice`.
    """
    assert slide.token_map is not None
    f, foreground = slide.token_map.downscale, slide.tissue.foreground
    tissue = tissue_tokens(foreground.mask, foreground.cell, slide.area.size, f)
    tiles = len(scored_tiles(slide.area, tile, f, most_tiles))
    values = []
    for condition, alter in CONDITIONS.items():
        altered = copy.copy(slide)
        altered.token_map = alter(slide.token_map, tissue)
        dice = slide_dice(count, reads, altered, tile, f, most_tiles, parallel)
        values.append(TokenValue(condition, tiles, dice))
    return values
