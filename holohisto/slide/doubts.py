"""What speaks against the resolution that a file states."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

FINEST, COARSEST = 0.1, 1.5
"""Micrometres per pixel of slide scanners: 100x with oil has 0.1, 5x has 2."""
UNKNOWN = 1.0
"""Micrometres per pixel that programs, Bio-Formats among them, write where they know none."""
TWICE, DIFFERENT = 1.6, 1.1
"""Ratios of two statements from which a factor of 2 is in doubt, and from which they differ."""
SCANNED_AT_1X = 10.0
"""Micrometres per pixel of a scan, times its magnification, as is usual."""
TAG_UNITS = {2: 25_400.0, 3: 10_000.0}
"""Micrometres in the unit of the TIFF tag ResolutionUnit: inch and centimetre."""
LARGEST_TAG = 20.0
"""Largest micrometres per pixel that tags may mean; anything else is a print setting."""
NUMBER = r"\s*=\s*([0-9]+(?:[.,][0-9]*)?(?:[eE][-+]?[0-9]+)?|[.,][0-9]+)"


@dataclass(frozen=True)
class Doubt:
    """Something that speaks against the resolution of a file."""

    text: str
    severe: bool = False
    """Whether the slide is refused unless its resolution is given."""


def stated(description: str | None, key: str) -> float | None:
    """Return a number of an Aperio header, such as MPP or AppMag; None without it or for 0.

    Some programs write a decimal comma or an exponent.
    """
    match = re.search(rf"\b{key}{NUMBER}", description or "")
    return float(match[1].replace(",", ".")) or None if match else None


def doubts(
    both: tuple[float, float],
    tags: float | None,
    magnification: float | None,
    calibrated: bool = False,
) -> Iterator[Doubt]:
    """Yield what speaks against a resolution.

    Args:
        both: Micrometres per pixel along x and y that the file states.
        tags: Those along x by the TIFF's resolution tags, where the header states it; None without.
        magnification: Of the objective, according to the file; None without.
        calibrated: Whether it is in a scanner's own format, which has no value for unknown.
    """
    mpp = both[0]
    if not calibrated and all(abs(side - UNKNOWN) < 1e-6 for side in both):
        text = "it states exactly 1 um per pixel, as programs write for an unknown value"
        yield Doubt(text, True)
    if (least := min(both)) < FINEST:
        yield Doubt(f"it states {least:.4g} um per pixel, finer than any slide scanner", True)
    elif mpp > COARSEST:
        yield Doubt(f"it states {mpp:.4g} um per pixel, coarser than a scan at 7x")
    if tags is not None and (ratio := _ratio(mpp, tags)) >= DIFFERENT:
        text = f"its header states {mpp:.4g} um per pixel, its resolution tags {tags:.4g}"
        yield Doubt(text, ratio >= TWICE)
    if magnification and _ratio(mpp, SCANNED_AT_1X / magnification) >= TWICE:
        yield Doubt(f"it states {mpp:.4g} um per pixel, but {magnification:g}x")


def tags_mpp(page: Any) -> float | None:
    """Return micrometres per pixel along x by the tags of tifffile's page; None for print settings.

    Args:
        page: tifffile's page of the full resolution.
    """
    per_unit, resolution = TAG_UNITS.get(int(page.resolutionunit)), page.resolution[0]
    if not per_unit or resolution <= 0:
        return None
    mpp = per_unit / resolution
    return mpp if mpp <= LARGEST_TAG else None


def _ratio(one: float, other: float) -> float:
    return max(one / other, other / one)
