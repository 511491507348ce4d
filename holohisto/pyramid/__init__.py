"""Tiled TIFF in and out: labels, masks and slides, streamed in bands of rows."""

from holohisto.pyramid.raster import Raster
from holohisto.pyramid.verify import verify_mask
from holohisto.pyramid.write import (
    pyramid_sizes,
    write_mask_pyramid,
    write_rows,
    write_slide_pyramid,
)

__all__ = [
    "Raster",
    "pyramid_sizes",
    "verify_mask",
    "write_mask_pyramid",
    "write_rows",
    "write_slide_pyramid",
]
