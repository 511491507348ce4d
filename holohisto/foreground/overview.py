"""Ink of pens in the overview of a slide, before its foreground is found."""

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


def ink_in_overview(slide: Slide, mpp: MppXY) -> float:
    """Return the share of what is stained that looks like strong ink of a pen, 0 to 1.

    Where no level is small enough to be read in a moment, 0: `foreground` will find the ink.

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
        return 0.0
    rgb = slide.overview(max(1, side))[0]
    saturations, brightness = saturation_and_brightness(rgb, slide.background)
    lit = brightness > ForegroundOptions().black
    stained = lit & (saturations > otsu_saturation(saturations[lit]))
    ink = strong_ink(rgb, stained, lit, slide.background)
    everything = stained | ink
    return float(ink.sum() / everything.sum()) if everything.any() else 0.0
