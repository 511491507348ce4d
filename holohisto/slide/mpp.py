"""Micrometres per pixel, from the header or the resolution tags of a TIFF."""

from itertools import islice
from typing import Any
from xml.etree import ElementTree

import tifffile

from holohisto.slide.doubts import stated

SMALLEST_MPP, LARGEST_MPP = 0.01, 20.0
"""Range of a microscope. Resolution tags beyond it are print settings (72 dpi is 353)."""
OME_UNITS = {"nm": 1e-3, "µm": 1.0, "μm": 1.0, "um": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6}
MppXY = tuple[float, float]
"""Micrometres per pixel along x and along y."""
SQUARE = 0.005
"""Relative difference of the two up to which pixels are square: files round them."""
TAG_UNITS = {2: 25_400.0, 3: 10_000.0}
"""Micrometres in the unit of the TIFF tag ResolutionUnit: inch and centimetre."""


def tiff_mpp(
    tiff: tifffile.TiffFile, first: Any, number: int = 0
) -> tuple[MppXY | None, str | None]:
    """Find the resolution of a TIFF: in the Aperio header, the OME XML or the resolution tags.

    Args:
        tiff: The open file.
        first: tifffile's page of the full resolution.
        number: Number of its series in the file, as of the image in OME XML.

    Returns:
        Micrometres per pixel and their source, "header" or "tags"; both None without a plausible
        value.
    """
    aperio = stated(first.description, "MPP")
    mpp = square(aperio) if aperio else None
    if mpp is None and tiff.is_ome:
        mpp = _ome_mpp(tiff.ome_metadata or "", number)
    if mpp is not None:
        return mpp, "header"
    per_unit = TAG_UNITS.get(int(first.resolutionunit))
    resolution = [r for r in first.resolution if r > 0]
    if per_unit and len(resolution) == 2:
        mpp = plausible(*(per_unit * (1 / r) for r in resolution))
    return mpp, "tags" if mpp else None


def _ome_mpp(xml: str, number: int) -> MppXY | None:
    """The physical pixel size of an image of OME XML."""
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return None
    images = (element for element in root.iter() if element.tag.endswith("}Pixels"))
    for element in islice(images, number, None):
        x, y = (_ome_length(element, axis) for axis in "XY")
        return None if x is None else plausible(x, x if y is None else y)
    return None


def _ome_length(pixels: ElementTree.Element, axis: str) -> float | None:
    """The physical pixel size of OME XML along an axis, micrometres; None without."""
    unit = OME_UNITS.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
    size = pixels.get(f"PhysicalSize{axis}")
    return float(size) * unit if size and unit else None


def both(mpp: float | MppXY) -> MppXY:
    """Return micrometres per pixel along x and y; one number stands for square pixels."""
    return mpp if isinstance(mpp, tuple) else (mpp, mpp)


def square(mpp: float) -> MppXY | None:
    """Return a resolution of square pixels that a microscope can have, else None."""
    return plausible(mpp, mpp)


def plausible(x: float, y: float) -> MppXY | None:
    """Return micrometres per pixel along x and y that a microscope can have, else None.

    The mean stands for two values that differ by SQUARE at most.
    """
    if not all(SMALLEST_MPP <= mpp <= LARGEST_MPP for mpp in (x, y)):
        return None
    mean = (x + y) / 2
    return (mean, mean) if abs(x / y - 1) <= SQUARE else (x, y)


def mpp_text(mpp: MppXY) -> str:
    """Return micrometres per pixel in words: one number where pixels are square."""
    x, y = mpp
    return f"{x:.4g}" if x == y else f"{x:.4g} x {y:.4g}"
