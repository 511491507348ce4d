"""Write tiled TIFFs from bands of rows.

Masks are BigTIFFs of 8-bit grey, LZW-compressed tiles of 512 pixels, in which every level of the
pyramid is a page: the only compressed format that OpenSlide, tifffile, tiffslide and cuCIM all read
exactly.
"""

import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from holohisto.errors import HolohistoError
from holohisto.pyramid.levels import TILE, Level, TileEncoder, pyramid_sizes, top_tiles
from holohisto.runtime.atomic import replacing
from holohisto.runtime.seal import seal_file
from holohisto.slide.mpp import MppXY, both

SPOOL_BYTES = 64 * 2**20
"""Size up to which the encoded tiles of reduced levels stay in memory; more go to a file."""


def write_rows(
    path: Path,
    bands: Iterable[np.ndarray],
    size: tuple[int, int],
    mpp: float | MppXY,
    header: dict[str, Any],
) -> None:
    """Write a one-level tiled LZW TIFF from bands of rows, in memory of one row of tiles.

    Its last line, after the TIFF, is a digest that `Raster` checks.

    Args:
        path: The file, written atomically.
        bands: Arrays (rows, width) uint8 from top to bottom, of any heights.
        size: Width and height.
        mpp: Micrometres per pixel of this raster, or two values, along x and y.
        header: Values for JSON, stored in the ImageDescription.

    Raises:
        HolohistoError: the bands do not add up to `size`, or the file cannot be written.
    """
    rows = _regroup(path, bands, size)
    with replacing(path) as temporary:
        with tifffile.TiffWriter(temporary, bigtiff=True) as writer, TileEncoder() as encoder:
            tiles = (tile for row in rows for tile in encoder.tiles(row))
            _write_page(writer, tiles, size, mpp, description=json.dumps(header), metadata=None)
        seal_file(temporary)


def write_mask_pyramid(
    path: Path,
    bands: Iterable[np.ndarray],
    size: tuple[int, int],
    mpp: float | MppXY,
    description: str,
) -> None:
    """Write a delivered mask; every level holds every second pixel of the level before.

    Args:
        path: The file, written atomically.
        bands: Arrays (rows, width) of 0 and 255 uint8, or bool, at level 0, top to bottom.
        size: Width and height of the slide's level 0.
        mpp: Micrometres per pixel of level 0, or two values, along x and y.
        description: Text of the ImageDescription.

    Raises:
        HolohistoError: the bands do not add up to `size`, or the file cannot be written.
    """
    _write_mask(path, bands, size, mpp, description=description, metadata=None)


def _write_mask(
    path: Path,
    bands: Iterable[np.ndarray],
    size: tuple[int, int],
    mpp: float | MppXY,
    ome: bool = False,
    **top: Any,
) -> None:
    """Write all levels in one pass; `top` are tifffile's arguments for the page of level 0."""
    sizes = pyramid_sizes(size)
    with (
        replacing(path) as temporary,
        tifffile.TiffWriter(temporary, bigtiff=True, ome=ome) as writer,
        tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES, dir=str(path.parent)) as spool,
        TileEncoder() as encoder,
    ):
        levels = [Level(level, spool, encoder) for level in sizes[1:]]
        tiles = top_tiles(_regroup(path, bands, size), levels, encoder)
        _write_page(writer, tiles, size, mpp, **top)
        x, y = both(mpp)
        for depth, level in enumerate(levels, start=1):
            reduced = x * 2**depth, y * 2**depth
            _write_page(writer, level.tiles(), level.size, reduced, subfiletype=1, metadata=None)


def write_ome_mask(
    path: Path,
    bands: Iterable[np.ndarray],
    size: tuple[int, int],
    mpp: float | MppXY,
    name: str,
) -> None:
    """Write a mask as OME-TIFF, its reduced levels as sub-IFDs.

    Args:
        path: The file, written atomically.
        bands: Arrays (rows, width) of 0 and 255 uint8, or bool, at level 0, top to bottom.
        size: Width and height of the slide's level 0.
        mpp: Micrometres per pixel of level 0, or two values, along x and y.
        name: Name of the image in the OME metadata.

    Raises:
        HolohistoError: the bands do not add up to `size`, or the file cannot be written.
    """
    length = {f"PhysicalSize{axis}": own for axis, own in zip("XY", both(mpp), strict=True)}
    units = {f"PhysicalSize{axis}Unit": "µm" for axis in "XY"}
    metadata = {"axes": "YX", "Name": name, **length, **units}
    levels = len(pyramid_sizes(size)) - 1
    _write_mask(path, bands, size, mpp, ome=True, subifds=levels, metadata=metadata)


def write_slide_pyramid(
    path: Path, pixels: np.ndarray | Iterable[np.ndarray], mpp: float | MppXY, quality: int = 85
) -> None:
    """Write a slide as a pyramidal TIFF of JPEG tiles of 256 pixels, as scanners export it.

    Args:
        path: The file, written atomically.
        pixels: RGB (height, width, 3) uint8, or bands of it from top to bottom.
        mpp: Micrometres per pixel of level 0, or two values, along x and y.
        quality: JPEG quality, 1 to 100.

    Raises:
        HolohistoError: the file cannot be written.
    """
    import pyvips

    x, y = both(mpp)
    bands = [pixels] if isinstance(pixels, np.ndarray) else pixels
    # libvips reads at random while it shrinks, so the bands are collected in a file, not in memory.
    with replacing(path) as temporary, _raw_file(path) as raw:
        width = 0
        for band in bands:
            width = band.shape[1]
            raw.write(np.ascontiguousarray(band, np.uint8).data)
        raw.flush()
        height = os.path.getsize(raw.name) // (3 * max(width, 1))
        image = pyvips.Image.rawload(raw.name, width, height, 3).copy(interpretation="srgb")
        image.tiffsave(
            str(temporary),
            tile=True,
            tile_width=256,
            tile_height=256,
            pyramid=True,
            compression="jpeg",
            Q=quality,
            xres=1000 / x,
            yres=1000 / y,
            resunit="cm",
            bigtiff=True,
        )


def _raw_file(path: Path) -> "tempfile._TemporaryFileWrapper[bytes]":
    """A temporary file beside `path`, under a name that its next writer removes after a kill."""
    prefix, folder = f".{path.name}.", str(path.parent)
    return tempfile.NamedTemporaryFile(prefix=prefix, suffix=path.suffix, dir=folder)


def _write_page(
    writer: tifffile.TiffWriter,
    tiles: Iterator[bytes],
    size: tuple[int, int],
    mpp: float | MppXY,
    **more: Any,
) -> None:
    """Append one page of encoded tiles; `more` are further arguments of tifffile."""
    x, y = both(mpp)
    writer.write(
        tiles,
        shape=(size[1], size[0]),
        dtype=np.uint8,
        tile=(TILE, TILE),
        photometric="minisblack",
        compression="lzw",
        predictor=False,
        resolution=(10_000 / x, 10_000 / y),
        resolutionunit="CENTIMETER",
        software=False,
        **more,
    )
    next(tiles, None)  # the writer stops at the last tile; surplus rows are found by one more


def _regroup(
    path: Path, bands: Iterable[np.ndarray], size: tuple[int, int]
) -> Iterator[np.ndarray]:
    """Regroup bands of any height, uint8 or bool, to TILE rows each; the last may be lower."""
    width, height = size
    buffer = np.empty((TILE, width), np.uint8)
    filled = done = 0
    for band in bands:
        if band.ndim != 2 or band.shape[1] != width or done + filled + len(band) > height:
            raise HolohistoError(
                path,
                "a band of rows does not fit the raster",
                found=f"shape {band.shape} at row {done + filled}",
                allowed=f"{width}x{height}",
            )
        pixels = band.astype(np.uint8) * 255 if band.dtype == np.bool_ else band
        start = 0
        while start < len(pixels):
            count = min(TILE - filled, len(pixels) - start)
            buffer[filled : filled + count] = pixels[start : start + count]
            filled, start = filled + count, start + count
            if filled == TILE:
                yield buffer
                done, filled = done + TILE, 0
    if done + filled != height:
        raise HolohistoError(path, "rows are missing", found=done + filled, allowed=height)
    if filled:
        yield buffer[:filled]
