"""What a slide file is, found out before any reader that could crash on it is loaded.

cuCIM ends the whole process on deflate with predictor, RGBA, 16 bits and strips, so tifffile looks
at the tags first and the reader is chosen from them, never by trial.
"""

import importlib.util
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile

from holohisto.errors import HolohistoError
from holohisto.slide.integrity import COPY_AGAIN, check_whole
from holohisto.slide.tiff import Page, level_pages

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
FLAT_MAGIC = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg"}
LARGEST_MPP = 20.0
"""Resolution tags that say more are print settings (72 dpi is 353), not microscopy."""
LARGEST_PICTURE = 2**31
"""Most pixels of a flat picture that Pillow may unpack."""
NONE, LZW, JPEG, ADOBE_DEFLATE, DEFLATE, JP2K_YCBCR, JP2K_RGB = 1, 5, 7, 8, 32946, 33003, 33005
GREY, RGB, YCBCR = 1, 2, 6
OME_UNITS = {"nm": 1e-3, "µm": 1.0, "μm": 1.0, "um": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6}

# A damaged file is told once, in our words; tifffile's own log lines would come on top.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class Probe:
    """What was found out about a slide file."""

    reader: str
    """cucim, openslide, tifffile or libvips."""
    compression: str
    levels: list[tuple[int, int]]
    """Width and height of each level, the full resolution first."""
    mpp: float | None = None
    """Micrometres per pixel of level 0 as the file says."""
    mpp_source: str | None = None
    """header (vendor or OME) or tags (TIFF resolution, PNG or JPEG density)."""


def probe(path: Path, samples: int = 3, ends: int = 64) -> Probe:
    """Look at the file and choose its reader.

    Args:
        path: The image file.
        samples: How many tiles of every level of a TIFF are decoded to see damage.
        ends: How many tiles of every level are looked at for their first and last bytes.

    Raises:
        HolohistoError: missing, empty, damaged, cut off, or no 8-bit RGB or grey picture.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise HolohistoError(
            path, f"image cannot be read: {error.strerror}", advice="check the path in the sheet"
        ) from error
    except ValueError as error:  # a null byte
        raise HolohistoError(repr(str(path)), f"is no path of an image: {error}") from error
    if magic in TIFF_MAGIC:
        return _probe_tiff(path, samples, ends)
    if _vendor(path):
        return probe_openslide(path)
    for start, kind in FLAT_MAGIC.items():
        if magic.startswith(start):
            return probe_vips(path, kind)
    raise HolohistoError(
        path,
        "is not an image that can be read",
        found=f"first bytes {magic!r}",
        allowed="TIFF, SVS and other slides of OpenSlide, OME-TIFF, PNG, JPEG",
        advice="check the file, or convert it to a pyramidal TIFF",
    )


def pillow() -> Any:
    """Pillow's Image module with a bound on size that fits slides."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = LARGEST_PICTURE
    return Image


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height of the first picture of any TIFF, PNG or other flat file.

    Raises:
        HolohistoError: missing or not a picture.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
        if magic in TIFF_MAGIC:
            check_whole(path)
            with tifffile.TiffFile(path) as tiff:
                page = tiff.pages.first
                return page.imagewidth, page.imagelength
        with pillow().open(path) as picture:
            return picture.size
    except OSError as error:
        reason = error.strerror or _line(error)
        raise HolohistoError(path, f"annotation cannot be read: {reason}") from error
    except HolohistoError:
        raise
    except Exception as error:  # tifffile and Pillow raise many kinds on damaged files
        raise HolohistoError(path, f"annotation is damaged: {_line(error)}") from error


def _vendor(path: Path) -> str | None:
    """The vendor format that OpenSlide recognises."""
    import openslide

    try:
        return openslide.OpenSlide.detect_format(path)
    except openslide.OpenSlideError:
        return None


def probe_openslide(path: Path) -> Probe:
    """Probe a file of a vendor format through OpenSlide."""
    import openslide

    try:
        with openslide.OpenSlide(path) as slide:
            properties = slide.properties
            mpps = [float(properties.get(f"openslide.mpp-{axis}", 0)) for axis in "xy"]
            vendor = properties.get("openslide.vendor", "unknown")
            levels = list(slide.level_dimensions)
    except (openslide.OpenSlideError, ValueError) as error:
        raise HolohistoError(
            path,
            f"OpenSlide cannot open the slide: {error}",
            advice="copy the file (with its side files) again, or convert it to a pyramidal TIFF",
        ) from error
    mpp = sensible(sum(mpps) / 2 if min(mpps) > 0 else None)
    return Probe("openslide", vendor, levels, mpp, "header" if mpp else None)


def probe_vips(path: Path, kind: str, mpp: float | None = None) -> Probe:
    """Probe a flat picture through libvips."""
    import pyvips

    try:
        image: Any = pyvips.Image.new_from_file(str(path), fail_on="truncated", revalidate=True)
    except pyvips.Error as error:
        raise HolohistoError(path, f"the {kind} cannot be opened: {_line(error)}") from error
    if image.format != "uchar" or image.interpretation not in ("srgb", "rgb", "b-w"):
        raise _unsuited(path, f"{image.format} {image.interpretation}")
    if kind != "tiff" and image.xres > 0:
        mpp = sensible(1000 / image.xres)
    return Probe("libvips", kind, [(image.width, image.height)], mpp, "tags" if mpp else None)


def _probe_tiff(path: Path, samples: int, ends: int) -> Probe:
    """Probe a TIFF by its tags."""
    if (vendor := _vendor(path)) not in (None, "generic-tiff", "aperio"):
        return probe_openslide(path)
    check_whole(path)
    try:
        with tifffile.TiffFile(path) as tiff, path.open("rb") as file:
            series: Any = tiff.series[0]
            pages = level_pages(tiff)
            kind = _TiffKind(tiff, [page.keyframe for page in pages])
            mpp, source = _tiff_mpp(tiff, kind.first)
            _suited(path, series, kind)
            for page in pages:
                Page(path, file.fileno(), page).check(samples, ends)
            reader = kind.reader(vendor)
            name = kind.first.compression.name.lower()
            sizes = [(p.keyframe.imagewidth, p.keyframe.imagelength) for p in pages]
    except HolohistoError:
        raise
    except Exception as error:  # tifffile raises many kinds on damaged files
        raise HolohistoError(
            path, "is a damaged TIFF: its tags make no sense", found=_line(error), advice=COPY_AGAIN
        ) from error
    if reader == "openslide":
        found = probe_openslide(path)
        return Probe(reader, name, found.levels, mpp or found.mpp, source or found.mpp_source)
    if reader == "libvips":
        found = probe_vips(path, "tiff", mpp)
        return Probe(reader, name, found.levels, mpp, source)
    return Probe(reader, name, sizes, mpp, source)


@dataclass(frozen=True)
class _TiffKind:
    """The tags of a TIFF that decide who may read it."""

    tiff: tifffile.TiffFile
    levels: list[Any]
    """tifffile's pages, the full resolution first."""

    @property
    def first(self) -> Any:
        """The page of the full resolution."""
        return self.levels[0]

    def reader(self, vendor: str | None) -> str:
        """Choose the reader, given the vendor that OpenSlide recognises."""
        first = self.first
        if self.cucim_safe():
            return "cucim"
        if vendor == "aperio":
            return "openslide"
        if first.compression == JP2K_YCBCR:  # tifffile leaves the colours as YCbCr
            return "openslide" if vendor else "tifffile"
        flat = not first.is_tiled and len(self.levels) == 1 and first.planarconfig == 1
        return "libvips" if flat and not self.tiff.is_ome else "tifffile"

    def cucim_safe(self) -> bool:
        """Whether cuCIM is installed, reads every level exactly, and does not crash on any."""
        return bool(
            all(map(_cucim_reads, self.levels))
            and self.first.index == 0
            and not (self.tiff.is_ome or self.tiff.is_qpi or self.first.subifds)
            and importlib.util.find_spec("cucim")
        )


def _cucim_reads(page: Any) -> bool:
    """Whether cuCIM's matrix, as measured, has this kind of page."""
    plain = page.compression in (NONE, JPEG, LZW, JP2K_YCBCR, JP2K_RGB)
    deflate = page.compression in (ADOBE_DEFLATE, DEFLATE) and page.predictor == 1
    return (
        (plain or deflate)
        and page.is_tiled
        and page.samplesperpixel == 3
        and page.planarconfig == 1
        and page.dtype == np.uint8
    )


def _suited(path: Path, series: Any, kind: _TiffKind) -> None:
    """Refuse what is not one 8-bit RGB or grey picture."""
    first = kind.first
    if len(series.levels[0].pages) != 1:
        raise _unsuited(path, f"{len(series.levels[0].pages)} pages, axes {series.axes}")
    if first.dtype != np.uint8 or first.bitspersample != 8:
        raise _unsuited(path, f"{first.bitspersample}-bit {first.dtype}")
    colours = {GREY: (1, 2), RGB: (3, 4), YCBCR: (3,)}.get(int(first.photometric), ())
    if first.samplesperpixel not in colours or first.imagedepth != 1:
        raise _unsuited(path, f"{first.samplesperpixel} samples, {first.photometric.name.lower()}")
    if first.photometric == YCBCR and first.compression not in (JPEG, JP2K_YCBCR):
        raise _unsuited(path, f"YCbCr with {first.compression.name.lower()} compression")


def _unsuited(path: Path, found: str) -> HolohistoError:
    return HolohistoError(
        path,
        "is not a brightfield slide",
        found=found,
        allowed="one picture, 8-bit RGB (or grey)",
        advice="export it as 8-bit RGB (fluorescence and 16-bit images cannot be segmented)",
    )


def _tiff_mpp(tiff: tifffile.TiffFile, first: Any) -> tuple[float | None, str | None]:
    """Find the mpp: vendor header, OME XML, then resolution tags."""
    found = re.search(r"\bMPP\s*=\s*([0-9]*\.?[0-9]+)", first.description or "")
    mpp = sensible(float(found.group(1))) if found else None
    if mpp is None and tiff.is_ome:
        mpp = _ome_mpp(tiff.ome_metadata or "")
    if mpp is not None:
        return mpp, "header"
    per_unit = {2: 25_400.0, 3: 10_000.0}.get(int(first.resolutionunit))
    resolution = [r for r in first.resolution if r > 0]
    if per_unit and len(resolution) == 2:
        mpp = sensible(per_unit * sum(1 / r for r in resolution) / 2)
    return mpp, "tags" if mpp else None


def _ome_mpp(xml: str) -> float | None:
    """The physical pixel size of the first image of OME XML."""
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return None
    for element in root.iter():
        if element.tag.endswith("}Pixels"):
            unit = OME_UNITS.get(element.get("PhysicalSizeXUnit", "µm"))
            size = element.get("PhysicalSizeX")
            return sensible(float(size) * unit) if size and unit else None
    return None


def sensible(mpp: float | None) -> float | None:
    """Return `mpp` if it can be a microscope's, else None."""
    return mpp if mpp is not None and 0.01 <= mpp <= LARGEST_MPP else None


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
