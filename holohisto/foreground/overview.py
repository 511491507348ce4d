"""The overview of a slide: what is stained, and ink of pens, before its foreground is found."""

from typing import NamedTuple

import numpy as np

from holohisto.config.sections import ForegroundOptions
from holohisto.foreground.detect import otsu_saturation, saturation_and_brightness
from holohisto.foreground.ink import strong_ink
from holohisto.runtime.arithmetic import ceil_div
from holohisto.slide import Slide
from holohisto.slide.mpp import MppXY
from holohisto.slide.scale import Scale

SIDE = 1024
"""Longest side of the overview, pixels."""
CELL_UM = 8
"""Smallest side of a pixel of the overview, micrometres; nuclei are about as large."""
MOST_PIXELS = 32 * 2**20
"""Largest level that is read for an overview, pixels."""


class Overview(NamedTuple):
    """What a small picture of a slide shows."""

    stained: np.ndarray
    """(height, width) bool, tissue without strong ink."""
    ink: float
    """Share of what is stained that looks like strong ink of a pen, 0 to 1."""
    factor: float
    """Level-0 pixels per pixel of the overview."""


def overview_of(slide: Slide, mpp: MppXY) -> Overview | None:
    """Look at a slide; None where no level is small enough to be read in a moment.

    Args:
        slide: The slide.
        mpp: Micrometres per pixel of level 0 along x and y.

    Raises:
        HolohistoError: the slide is damaged.
    """
    side = min(SIDE, ceil_div(round(max(slide.size) * min(mpp)), CELL_UM))
    factor = slide.overview_factor(max(1, side))
    width, height = slide.levels[slide.level_for(Scale.whole(factor))]
    if width * height > MOST_PIXELS:
        return None
    rgb, scale = slide.overview(max(1, side))
    saturations, brightness = saturation_and_brightness(rgb, slide.background)
    lit = brightness > ForegroundOptions().black
    stained = lit & (saturations > otsu_saturation(saturations[lit]))
    ink = strong_ink(rgb, stained, lit, slide.background)
    everything = stained | ink
    share = float(ink.sum() / everything.sum()) if everything.any() else 0.0
    return Overview(stained & ~ink, share, scale)
