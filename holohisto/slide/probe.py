"""Look at a slide file and choose its reader, without loading a reader that could crash on it."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from holohisto.errors import HolohistoError
from holohisto.slide import claims
from holohisto.slide.bounds import Bounds, bounds_of
from holohisto.slide.doubts import Doubt, doubts, stated, tags_mpp
from holohisto.slide.integrity import COPY_AGAIN, check_whole
from holohisto.slide.mpp import MppXY, plausible, tiff_mpp
from holohisto.slide.orientation import TAG, require_upright
from holohisto.slide.pages import SlidePages, slide_pages
from holohisto.slide.reader_choice import JP2K_YCBCR, JPEG, TiffKind
from holohisto.slide.side_files import require_own_folder
from holohisto.slide.tiff import Page

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
FLAT_MAGIC = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg"}
GREY, RGB, YCBCR = 1, 2, 6

# A damaged file is reported once, as an error; tifffile would log it a second time.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class Probe:
    """What a slide file holds, and the reader for it."""

    reader: str
    """cucim, openslide, tifffile or libvips."""
    compression: str
    levels: list[tuple[int, int]]
    """Width and height of each level, the full resolution first."""
    mpp: MppXY | None = None
    """Micrometres per pixel of level 0, along x and y, according to the file."""
    mpp_source: str | None = None
    """header (vendor or OME) or tags (TIFF resolution, PNG or JPEG density)."""
    bounds: Bounds | None = None
    """The scanned part of level 0; None: all of it."""
    warnings: tuple[str, ...] = ()
    """What is unusual about the file, in words."""
    doubts: tuple[Doubt, ...] = ()
    """What speaks against the resolution."""


def probe(path: Path, samples: int = 3, ends: int = 64) -> Probe:
    """Look at a slide file and choose its reader.

    Args:
        path: The image file.
        samples: Number of tiles decoded per level of a TIFF, to find damage.
        ends: Number of tiles per level of a TIFF whose first and last bytes are checked.

    Raises:
        HolohistoError: missing, empty, damaged, truncated, or no 8-bit RGB or grey picture.
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


def is_tiff(path: Path) -> bool:
    """Whether a file begins as a TIFF or BigTIFF does.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return file.read(4) in TIFF_MAGIC


def _vendor(path: Path) -> str | None:
    """The vendor format that OpenSlide recognises; None for any other file."""
    import openslide

    try:
        return openslide.OpenSlide.detect_format(path)
    except openslide.OpenSlideError:
        return None


def probe_openslide(path: Path) -> Probe:
    """Probe a file of a vendor format with OpenSlide.

    Raises:
        HolohistoError: OpenSlide cannot open it, or it names files outside its folder.
    """
    import openslide

    require_own_folder(path)
    try:
        with openslide.OpenSlide(path) as slide:
            properties = slide.properties
            mpps = [float(properties.get(f"openslide.mpp-{axis}", 0)) for axis in "xy"]
            vendor = properties.get("openslide.vendor", "unknown")
            levels = list(slide.level_dimensions)
            bounds = bounds_of(properties, levels[0])
            power = float(properties.get("openslide.objective-power", 0)) or None
    except (openslide.OpenSlideError, ValueError) as error:
        raise HolohistoError(
            path,
            f"OpenSlide cannot open the slide: {error}",
            advice="copy the file (with its side files) again, or convert it to a pyramidal TIFF",
        ) from error
    claims.require_size(path, levels)
    mpp = plausible(*mpps)
    doubted = tuple(doubts(mpp, None, power, calibrated=True)) if mpp else ()
    source = "header" if mpp else None
    return Probe("openslide", vendor, levels, mpp, source, bounds, doubts=doubted)


def probe_vips(path: Path, kind: str, mpp: MppXY | None = None) -> Probe:
    """Probe a picture without levels with libvips.

    Args:
        path: The file.
        kind: tiff, png or jpeg.
        mpp: Micrometres per pixel from the tags of a TIFF; others are read from the file.

    Raises:
        HolohistoError: libvips cannot open it, or it is no 8-bit RGB or grey picture.
    """
    import pyvips

    try:
        image: Any = pyvips.Image.new_from_file(str(path), fail_on="warning", revalidate=True)
    except pyvips.Error as error:
        raise HolohistoError(path, f"the {kind} cannot be opened: {_line(error)}") from error
    if image.format != "uchar" or image.interpretation not in ("srgb", "rgb", "b-w"):
        raise _not_brightfield(path, f"{image.format} {image.interpretation}")
    claims.require_size(path, [(image.width, image.height)])
    if image.get_typeof("orientation"):
        require_upright(path, image.get("orientation"))
    if kind != "tiff":
        claims.require_picture(path, (image.width, image.height), image.bands)
        if min(image.xres, image.yres) > 0:
            mpp = plausible(1000 / image.xres, 1000 / image.yres)
    doubted = tuple(doubts(mpp, None, None)) if mpp else ()
    source = "tags" if mpp else None
    return Probe("libvips", kind, [(image.width, image.height)], mpp, source, doubts=doubted)


def _probe_tiff(path: Path, samples: int, ends: int) -> Probe:
    """Probe a TIFF by its tags; vendor formats other than Aperio's with OpenSlide."""
    if (vendor := _vendor(path)) not in (None, "generic-tiff", "aperio"):
        return probe_openslide(path)
    check_whole(path)
    try:
        # Only this file: OME XML may name others, anywhere.
        with tifffile.TiffFile(path, _multifile=False) as tiff, path.open("rb") as file:
            found = slide_pages(tiff)
            series, pages = found.series, found.levels
            kind = TiffKind(tiff, [page.keyframe for page in pages])
            sizes = [(page.imagewidth, page.imagelength) for page in kind.levels]
            claims.require_size(path, sizes)
            for level in kind.levels:
                claims.require_segment(path, level)
            mpp, source = tiff_mpp(tiff, kind.first, found.index)
            notes = warnings_of(found)
            doubted = doubts_of(kind.first, mpp, source)
            _require_brightfield(path, series, kind)
            tag = kind.first.tags.get(TAG)
            require_upright(path, tag.value if tag else None)
            for page in pages:
                Page(path, file.fileno(), page).check(samples, ends)
            reader = kind.reader(vendor)
            name = kind.first.compression.name.lower()
    except HolohistoError:
        raise
    except Exception as error:  # tifffile raises many kinds on damaged files
        raise HolohistoError(
            path, "is a damaged TIFF: its tags make no sense", found=_line(error), advice=COPY_AGAIN
        ) from error
    if reader == "openslide":
        vendors = probe_openslide(path)
        return replace(
            vendors,
            compression=name,
            mpp=mpp or vendors.mpp,
            mpp_source=source or vendors.mpp_source,
            doubts=doubted if mpp else vendors.doubts,
        )
    if reader == "libvips":
        sizes = probe_vips(path, "tiff", mpp).levels
    return Probe(reader, name, sizes, mpp, source, warnings=notes, doubts=doubted)


def doubts_of(first: Any, mpp: MppXY | None, source: str | None) -> tuple[Doubt, ...]:
    """Return what speaks against the resolution of a TIFF.

    Args:
        first: tifffile's page of the full resolution.
        mpp: Micrometres per pixel of that page.
        source: "header" or "tags".
    """
    if mpp is None:
        return ()
    tags = tags_mpp(first) if source == "header" else None
    return tuple(doubts(mpp, tags, stated(first.description, "AppMag")))


def warnings_of(pages: SlidePages) -> tuple[str, ...]:
    """Name the pictures of a TIFF that are not read."""
    if not pages.others:
        return ()
    names = ", ".join(pages.others[:4])
    return (f"other pictures of the file are not read: {names}; save each as a slide of its own",)


def _require_brightfield(path: Path, series: Any, kind: TiffKind) -> None:
    """Refuse a TIFF that is not a single 8-bit RGB or grey picture."""
    first = kind.first
    if len(series.levels[0].pages) != 1:
        raise HolohistoError(
            path,
            "holds several pictures of one size: planes, channels, times or slides",
            found=f"{len(series.levels[0].pages)} pages, axes {series.axes}",
            allowed="one picture, 8-bit RGB (or grey)",
            advice="save the one that is the slide, or each as a slide of its own",
        )
    if first.dtype != np.uint8 or first.bitspersample != 8:
        raise _not_brightfield(path, f"{first.bitspersample}-bit {first.dtype}")
    colours = {GREY: (1, 2), RGB: (3, 4), YCBCR: (3,)}.get(int(first.photometric), ())
    if first.samplesperpixel not in colours or first.imagedepth != 1:
        raise _not_brightfield(
            path, f"{first.samplesperpixel} samples, {first.photometric.name.lower()}"
        )
    if first.photometric == YCBCR and first.compression not in (JPEG, JP2K_YCBCR):
        raise _not_brightfield(path, f"YCbCr with {first.compression.name.lower()} compression")


def _not_brightfield(path: Path, found: str) -> HolohistoError:
    return HolohistoError(
        path,
        "is not a brightfield slide",
        found=found,
        allowed="one picture, 8-bit RGB (or grey)",
        advice="export it as 8-bit RGB (fluorescence and 16-bit images cannot be segmented)",
    )


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
