"""Proof that a delivered mask opens elsewhere, as it was written."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from holohisto.errors import HolohistoError
from holohisto.pyramid.levels import TILE, pyramid_sizes
from holohisto.pyramid.raster import Raster

ReadMask = Callable[[tuple[int, int], tuple[int, int]], np.ndarray]
"""Pixels (height, width) uint8 of a rectangle, from its corner (x, y) and its (width, height)."""


def verified_mask(
    path: Path, size: tuple[int, int], mpp: float, samples: int = 4
) -> Iterator[ReadMask]:
    """Reopen a delivered mask with OpenSlide and with tifffile, compare, and yield both.

    Both must tell `size`, `mpp` and the levels, and agree on the pixels, all 0 or 255, of the
    first, the last, the `samples` fullest tiles and as many tiles anywhere.

    Raises:
        HolohistoError: anything differs.
    """
    import openslide

    try:
        with openslide.OpenSlide(path) as slide, Raster(path) as raster:
            found = float(slide.properties.get("openslide.mpp-x", "nan"))
            _require(path, size, mpp, slide.dimensions, found, list(slide.level_dimensions))
            _require(path, size, mpp, raster.size, raster.mpp or 0.0, pyramid_sizes(size))

            def read(xy: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
                return np.asarray(slide.read_region(xy, 0, size).convert("L"))

            _compare(path, raster, read, samples, "OpenSlide")
            yield from (raster.read, read)
    except openslide.OpenSlideError as error:
        raise HolohistoError(path, f"OpenSlide refuses the mask: {error}") from error


def verified_ome_mask(
    path: Path, size: tuple[int, int], mpp: float, samples: int = 4
) -> Iterator[ReadMask]:
    """The same of an OME-TIFF, with tifffile and with libvips.

    Raises:
        HolohistoError: anything differs.
    """
    import pyvips

    with tifffile.TiffFile(path) as tiff:
        levels = [(level.shape[1], level.shape[0]) for level in tiff.series[0].levels]
        pixels: Any = tifffile.xml2dict(tiff.ome_metadata or "<none/>")
    with contextlib.suppress(KeyError, TypeError):
        pixels = pixels["OME"]["Image"]["Pixels"]
    _require(path, size, mpp, levels[0], float(pixels.get("PhysicalSizeX", "nan")), levels)
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
    mpp: float,
    found: tuple[int, int],
    found_mpp: float,
    levels: list[tuple[int, int]],
) -> None:
    """Refuse another size, resolution or other levels."""
    if found != size:
        raise HolohistoError(path, "the mask has not the slide's size", found=found, allowed=size)
    if not abs(found_mpp / mpp - 1) < 1e-3:
        raise HolohistoError(path, "the mask's mpp is wrong", found=found_mpp, allowed=mpp)
    if levels != pyramid_sizes(size):
        raise HolohistoError(
            path, "the mask's levels are wrong", found=levels, allowed=pyramid_sizes(size)
        )


def _compare(path: Path, raster: Raster, read: ReadMask, samples: int, name: str) -> None:
    """Compare tiles of a mask as tifffile and another reader see them."""
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
