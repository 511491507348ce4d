"""Pictures without levels that Pillow reads, such as annotations, their sizes checked first."""

from pathlib import Path
from typing import Any

import tifffile

from holohisto.errors import HolohistoError
from holohisto.slide import claims
from holohisto.slide.integrity import check_whole
from holohisto.slide.orientation import TAG, require_upright
from holohisto.slide.probe import is_tiff

PICTURE_FORMATS = ("PNG", "JPEG")
"""Formats of pictures that Pillow may open."""


def open_picture(path: Path) -> Any:
    """Open a PNG or JPEG with Pillow, its size checked; the pixels are not decoded yet.

    Formats are named: Pillow would hand PostScript to another program.

    Raises:
        HolohistoError: the size is beyond the limits, or beyond what the file can hold.
        OSError: no such picture.
    """
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = claims.LARGEST_PICTURE
    picture = Image.open(path, formats=PICTURE_FORMATS)
    try:
        claims.require_picture(path, picture.size, len(picture.getbands()))
    except HolohistoError:
        picture.close()
        raise
    return picture


def picture_size(path: Path) -> tuple[int, int]:
    """Return width and height of an annotation: the first picture of a TIFF, PNG or JPEG.

    Raises:
        HolohistoError: missing, damaged, or not a picture.
    """
    try:
        if is_tiff(path):
            check_whole(path)
            with tifffile.TiffFile(path) as tiff:
                page: Any = tiff.pages.first
                size = page.imagewidth, page.imagelength
                claims.require_size(path, [size])
                claims.require_segment(path, page)
                tag = page.tags.get(TAG)
                require_upright(path, tag.value if tag else None)
                return size
        with open_picture(path) as picture:
            require_upright(path, _orientation(picture))
            return picture.size
    except OSError as error:
        reason = error.strerror or error
        allowed = None if error.strerror else "TIFF, PNG, JPEG, or outlines"
        raise HolohistoError(
            path, f"annotation cannot be read: {reason}", allowed=allowed
        ) from error
    except HolohistoError:
        raise
    except Exception as error:  # tifffile and Pillow raise many kinds on damaged files
        raise HolohistoError(path, f"annotation is damaged: {error}") from error


def _orientation(picture: Any) -> object:
    """The EXIF orientation in the header of Pillow's picture, without decoding its pixels."""
    from PIL import Image

    exif = Image.Exif()
    if data := picture.info.get("exif"):
        exif.load(data)
    return exif.get(TAG)
