"""The scale that brings a slide to the working resolution, and its limits."""

import math
from fractions import Fraction

from holohisto.config.sections import CheckOptions
from holohisto.errors import HolohistoError
from holohisto.slide.mpp import MppXY, mpp_text
from holohisto.slide.scale import LARGEST, Scale

MOST_ENLARGED, WARNED = 1.25, 1.05
"""Largest enlargement of a slide that is coarser than the working resolution, and the largest
without a warning."""


def working_scale(where: object, mpp: MppXY, options: CheckOptions) -> Scale:
    """Return the level-0 pixels per working pixel of a slide.

    Args:
        where: The slide, for the error message.
        mpp: Micrometres per pixel of level 0, along x and y.
        options: Working resolution, and tolerance up to which whole factors are kept.

    Raises:
        HolohistoError: the slide would have to be enlarged by more than MOST_ENLARGED.
    """
    coarsest = max(mpp)
    if coarsest / options.mpp > MOST_ENLARGED:
        raise HolohistoError(
            where,
            "the slide is too coarse for the working resolution",
            found=f"{mpp_text(mpp)} um per pixel",
            allowed=f"at most {options.mpp * MOST_ENLARGED:g}, {MOST_ENLARGED:g} times `check.mpp`",
            advice=f"set `check.mpp: {coarsest:.4g}` in the config for the whole cohort, or, if the"
            " slide is wrong, its true value in the sheet's column `mpp`",
        )
    x, y = (_step(own, options) for own in mpp)
    return Scale(x, y)


def _step(mpp: float, options: CheckOptions) -> Fraction:
    """Level-0 pixels per working pixel along one axis."""
    exact = Fraction(str(options.mpp)) / Fraction(str(mpp))
    whole = max(1, round(exact))
    if abs(whole / exact - 1) <= options.mpp_tolerance:
        return Fraction(whole)
    return exact.limit_denominator(LARGEST)


def working_mpp(mpp: MppXY, scale: Scale) -> float:
    """Return micrometres per working pixel: the side of a square of a working pixel's area."""
    x, y = mpp[0] * float(scale.x), mpp[1] * float(scale.y)
    return x if x == y else math.sqrt(x * y)


def resolution_warnings(mpp: MppXY, options: CheckOptions) -> list[str]:
    """Return what is unusual about the resolution of a slide that is processed."""
    warnings = []
    if mpp[0] != mpp[1]:
        warnings.append(f"pixels are not square: {mpp_text(mpp)} um; both sides are brought to mpp")
    if max(mpp) / options.mpp > WARNED:
        warnings.append(
            f"coarser than the working resolution: {mpp_text(mpp)} um per pixel are enlarged to"
            f" {options.mpp:g}, which adds no detail"
        )
    return warnings
