"""Tiled TIFF in and out: labels, masks and slides, streamed in bands of rows."""

from holohisto.pyramid.raster import Raster
from holohisto.pyramid.verify import ReadMask, verified_mask, verified_ome_mask, verify_mask
from holohisto.pyramid.write import (
    pyramid_sizes,
    write_mask_pyramid,
    write_ome_mask,
    write_rows,
    write_slide_pyramid,
)

__all__ = [
    "Raster",
    "ReadMask",
    "pyramid_sizes",
    "verified_mask",
    "verified_ome_mask",
    "verify_mask",
    "write_mask_pyramid",
    "write_ome_mask",
    "write_rows",
    "write_slide_pyramid",
]
