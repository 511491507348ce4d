"""Micrometres per pixel, from the header or the resolution tags of a TIFF."""

import re
from itertools import islice
from typing import Any
from xml.etree import ElementTree

import tifffile

SMALLEST_MPP, LARGEST_MPP = 0.01, 20.0
"""Range of a microscope. Resolution tags beyond it are print settings (72 dpi is 353)."""
OME_UNITS = {"nm": 1e-3, "µm": 1.0, "μm": 1.0, "um": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6}
TAG_UNITS = {2: 25_400.0, 3: 10_000.0}
"""Micrometres in the unit of the TIFF tag ResolutionUnit: inch and centimetre."""


def tiff_mpp(
    tiff: tifffile.TiffFile, first: Any, number: int = 0
) -> tuple[float | None, str | None]:
    """Find the resolution of a TIFF: in the Aperio header, the OME XML or the resolution tags.

    Args:
        tiff: The open file.
        first: tifffile's page of the full resolution.
        number: Number of its series in the file, as of the image in OME XML.

    Returns:
        Micrometres per pixel and their source, "header" or "tags"; both None without a plausible
        value.
    """
    aperio = re.search(r"\bMPP\s*=\s*([0-9]*\.?[0-9]+)", first.description or "")
    mpp = plausible(float(aperio.group(1))) if aperio else None
    if mpp is None and tiff.is_ome:
        mpp = _ome_mpp(tiff.ome_metadata or "", number)
    if mpp is not None:
        return mpp, "header"
    per_unit = TAG_UNITS.get(int(first.resolutionunit))
    resolution = [r for r in first.resolution if r > 0]
    if per_unit and len(resolution) == 2:
        mpp = plausible(per_unit * sum(1 / r for r in resolution) / 2)
    return mpp, "tags" if mpp else None


def _ome_mpp(xml: str, number: int) -> float | None:
    """The physical pixel size of an image of OME XML."""
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return None
    images = (element for element in root.iter() if element.tag.endswith("}Pixels"))
    for element in islice(images, number, None):
        unit = OME_UNITS.get(element.get("PhysicalSizeXUnit", "µm"))
        size = element.get("PhysicalSizeX")
        return plausible(float(size) * unit) if size and unit else None
    return None


def plausible(mpp: float | None) -> float | None:
    """Return micrometres per pixel that a microscope can have, and None for any other value."""
    return mpp if mpp is not None and SMALLEST_MPP <= mpp <= LARGEST_MPP else None
