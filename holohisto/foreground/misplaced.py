"""Drawn objects that lie on glass: in other units, of another level, or of another slide."""

import numpy as np

from holohisto.foreground.overview import Overview
from holohisto.slide.mpp import MppXY

LEAST_STAINED = 0.001
"""Smallest share of an overview that is stained where tissue is found; single pixels are noise."""
MOSTLY, NEARLY_ALL = 0.5, 0.9
"""Shares of outlines on tissue below which they are misplaced, and from which a factor explains
it."""
REDUCED = (2, 4, 8, 16, 32, 64)
"""Reductions of the level or the picture on which outlines may have been drawn."""


def misplaced(boxes: np.ndarray, overview: Overview, mpp: MppXY) -> str | None:
    """Return a sentence on outlines most of which lie on glass; None if most lie on tissue.

    Args:
        boxes: Bounding boxes of the outlines, (n, 4): left, top, right, bottom, level-0 pixels.
        overview: What the slide's overview shows.
        mpp: Micrometres per pixel of level 0 along x and y.
    """
    from scipy import ndimage

    pieces = np.asarray(ndimage.binary_opening(overview.stained, np.ones((2, 2), bool)))
    if not len(boxes) or pieces.mean() < LEAST_STAINED:
        return None
    found = _share(boxes, overview)
    if found >= MOSTLY:
        return None
    on_glass = len(boxes) - round(found * len(boxes))
    text = f"{on_glass} of {len(boxes)} outlines lie where the slide shows no tissue"
    if _share(boxes / (*mpp, *mpp), overview) >= NEARLY_ALL:
        return f"{text}, but on tissue if they are in micrometres: export them in pixels"
    for factor in REDUCED:
        if _share(boxes * factor, overview) >= NEARLY_ALL:
            return (
                f"{text}, but on tissue if enlarged {factor} times: export them in pixels of the"
                " full resolution"
            )
    return f"{text}: is it the annotation of this slide?"


def _share(boxes: np.ndarray, overview: Overview) -> float:
    """Share of boxes that hold a stained pixel of the overview, 0 to 1."""
    height, width = overview.stained.shape
    sums = np.zeros((height + 1, width + 1), np.int64)
    sums[1:, 1:] = overview.stained.cumsum(axis=0).cumsum(axis=1)
    left, top = (np.floor(boxes[:, side] / overview.factor) for side in (0, 1))
    right, bottom = (np.floor(boxes[:, side] / overview.factor) + 1 for side in (2, 3))
    x0, x1 = (np.clip(side, 0, width).astype(int) for side in (left, right))
    y0, y1 = (np.clip(side, 0, height).astype(int) for side in (top, bottom))
    stained = sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]
    return float((stained > 0).mean())
