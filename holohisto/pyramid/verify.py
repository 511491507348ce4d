"""Verify that other software opens a delivered mask and reads the pixels that were written."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from holohisto.errors import HolohistoError
from holohisto.pyramid.levels import TILE, pyramid_sizes
from holohisto.pyramid.raster import Raster
from holohisto.slide.mpp import MppXY, both

ReadMask = Callable[[tuple[int, int], tuple[int, int]], np.ndarray]
"""Pixels (height, width) uint8 of a rectangle, from its corner (x, y) and its (width, height)."""


def verified_mask(
    path: Path, size: tuple[int, int], mpp: float | MppXY, samples: int = 4
) -> Iterator[ReadMask]:
    """Verify a delivered mask with tifffile and OpenSlide, then yield both readers.

    Both must report `size`, `mpp` and the levels. They must read the same pixels, all 0 or 255, in
    the first, the last, the `samples` longest and `samples` random tiles.

    Args:
        path: The mask.
        size: Width and height of the slide's level 0.
        mpp: Micrometres per pixel of level 0, or two values, along x and y.
        samples: Number of tiles compared of either kind.

    Yields:
        Two functions that read a rectangle of level 0: by tifffile, then by OpenSlide.

    Raises:
        HolohistoError: a reader fails, or size, resolution, levels or pixels differ.
    """
    import openslide

    try:
        with openslide.OpenSlide(path) as slide, Raster(path) as raster:
            texts = [slide.properties.get(f"openslide.mpp-{axis}", "nan") for axis in "xy"]
            own_mpp = float(texts[0]), float(texts[1])
            _require(path, size, mpp, slide.dimensions, own_mpp, list(slide.level_dimensions))
            tags = raster.mpp or 0.0, raster.mpp_y or 0.0
            _require(path, size, mpp, raster.size, tags, pyramid_sizes(size))

            def read(xy: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
                return np.asarray(slide.read_region(xy, 0, size).convert("L"))

            _compare(path, raster, read, samples, "OpenSlide")
            yield from (raster.read, read)
    except openslide.OpenSlideError as error:
        raise HolohistoError(path, f"OpenSlide refuses the mask: {error}") from error


def verified_ome_mask(
    path: Path, size: tuple[int, int], mpp: float | MppXY, samples: int = 4
) -> Iterator[ReadMask]:
    """Verify an OME-TIFF mask with tifffile and libvips, then yield both readers.

    Args, yields and errors: as `verified_mask`, with libvips in place of OpenSlide.
    """
    import pyvips

    with tifffile.TiffFile(path) as tiff:
        levels = [(level.shape[1], level.shape[0]) for level in tiff.series[0].levels]
        pixels: Any = tifffile.xml2dict(tiff.ome_metadata or "<none/>")
    with contextlib.suppress(KeyError, TypeError):
        pixels = pixels["OME"]["Image"]["Pixels"]
    x, y = (float(pixels.get(f"PhysicalSize{axis}", "nan")) for axis in "XY")
    _require(path, size, mpp, levels[0], (x, y), levels)
    try:
        image: Any = pyvips.Image.tiffload(str(path))
    except pyvips.Error as error:
        raise HolohistoError(path, f"libvips refuses the mask: {error}") from error
    _require(path, size, mpp, (image.width, image.height), mpp, levels)

    def read(xy: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
        return np.asarray(image.crop(*xy, *size))

    with Raster(path) as raster:
        _compare(path, raster, read, samples, "libvips")
        yield from (raster.read, read)


def _require(
    path: Path,
    size: tuple[int, int],
    mpp: float | MppXY,
    found: tuple[int, int],
    found_mpp: float | MppXY,
    levels: list[tuple[int, int]],
) -> None:
    """Refuse a mask whose size, resolution or levels are not those of the slide."""
    if found != size:
        raise HolohistoError(path, "the mask has not the slide's size", found=found, allowed=size)
    pairs = zip(both(found_mpp), both(mpp), strict=True)
    if not all(abs(own / allowed - 1) < 1e-3 for own, allowed in pairs):
        raise HolohistoError(path, "the mask's mpp is wrong", found=found_mpp, allowed=mpp)
    if levels != pyramid_sizes(size):
        raise HolohistoError(
            path, "the mask's levels are wrong", found=levels, allowed=pyramid_sizes(size)
        )


def _compare(path: Path, raster: Raster, read: ReadMask, samples: int, name: str) -> None:
    """Refuse a mask of which tifffile and the reader `name` read different tiles."""
    corners = {*raster.fullest_tiles(samples), *raster.any_tiles(samples)}
    for xy in sorted(corners):
        width, height = (min(TILE, s - p) for s, p in zip(raster.size, xy, strict=True))
        ours = raster.read(xy, (width, height))
        if not np.array_equal(ours, read(xy, (width, height))):
            raise HolohistoError(path, f"{name} and tifffile read other pixels at {xy}")
        if not np.isin(ours, (0, 255)).all():
            raise HolohistoError(
                path,
                f"the mask has other values at {xy}",
                found=np.unique(ours).tolist()[:8],
                allowed="0 and 255",
            )
