"""Proof that a delivered mask opens elsewhere."""

from pathlib import Path
from typing import Any

import numpy as np

from holohisto.errors import HolohistoError
from holohisto.pyramid.levels import TILE, pyramid_sizes
from holohisto.pyramid.raster import Raster


def verify_mask(path: Path, size: tuple[int, int], mpp: float, samples: int = 4) -> None:
    """Reopen a delivered mask with OpenSlide and with tifffile and compare.

    Both must tell `size`, `mpp` and the levels, and agree on the pixels, all 0 or 255, of the
    first, the last and the `samples` fullest tiles.

    Raises:
        HolohistoError: anything differs.
    """
    import openslide

    try:
        with openslide.OpenSlide(path) as slide, Raster(path) as raster:
            found = float(slide.properties.get("openslide.mpp-x", "nan"))
            if slide.dimensions != size or raster.size != size:
                raise HolohistoError(
                    path, "the mask has not the slide's size", found=slide.dimensions, allowed=size
                )
            if not abs(found / mpp - 1) < 1e-3:
                raise HolohistoError(path, "the mask's mpp is wrong", found=found, allowed=mpp)
            if slide.level_dimensions != tuple(pyramid_sizes(size)):
                raise HolohistoError(
                    path, "the mask's levels are wrong",
                    found=slide.level_dimensions, allowed=pyramid_sizes(size),
                )  # fmt: skip
            for xy in raster.fullest_tiles(samples):
                _compare(path, slide, raster, xy)
    except openslide.OpenSlideError as error:
        raise HolohistoError(path, f"OpenSlide refuses the mask: {error}") from error


def _compare(path: Path, slide: Any, raster: Raster, xy: tuple[int, int]) -> None:
    """Compare one tile of a mask as OpenSlide and tifffile read it."""
    width, height = (min(TILE, s - p) for s, p in zip(raster.size, xy, strict=True))
    ours = raster.read(xy, (width, height))
    theirs = np.asarray(slide.read_region(xy, 0, (width, height)).convert("L"))
    if not np.array_equal(ours, theirs):
        raise HolohistoError(path, f"OpenSlide and tifffile read other pixels at {xy}")
    if not np.isin(ours, (0, 255)).all():
        raise HolohistoError(
            path, f"the mask has other values at {xy}",
            found=np.unique(ours).tolist()[:8], allowed="0 and 255",
        )  # fmt: skip
