"""Which reader opens a TIFF.

cuCIM ends the whole process on deflate with predictor, RGBA, 16 bits and strips. Therefore the
reader is chosen from the TIFF tags that tifffile reads, never by trial.
"""

import importlib.util
from dataclasses import dataclass
from typing import Any

import numpy as np
import tifffile

from holohisto.slide.pages import keyframe
from holohisto.slide.tiff import extra_sample, is_sparse

NONE, LZW, JPEG, ADOBE_DEFLATE, DEFLATE, JP2K_YCBCR, JP2K_RGB = 1, 5, 7, 8, 32946, 33003, 33005
"""TIFF compressions."""


@dataclass(frozen=True)
class TiffKind:
    """The tags of a TIFF that decide which reader opens it."""

    tiff: tifffile.TiffFile
    levels: list[Any]
    """tifffile's page of each level, the full resolution first."""

    @property
    def first(self) -> Any:
        """The page of the full resolution."""
        return self.levels[0]

    def reader(self, vendor: str | None) -> str:
        """Choose the reader, given the vendor that OpenSlide recognises."""
        first = self.first
        if self.cucim_safe() and (vendor == "aperio" or self._one_is_no_reduction()):
            return "cucim"
        if vendor == "aperio" and first.compression == JP2K_RGB:
            return "openslide"
        if first.compression == JP2K_YCBCR:  # tifffile leaves the colours as YCbCr
            return "openslide" if vendor else "tifffile"
        flat = not first.is_tiled and len(self.levels) == 1 and first.planarconfig == 1
        if is_sparse(first) or extra_sample(first) is not None:
            return "tifffile"
        return "libvips" if flat and not self.tiff.is_ome else "tifffile"

    def _one_is_no_reduction(self) -> bool:
        """Whether one page alone is not marked as a reduced one, as cuCIM requires."""
        return sum(page.subfiletype == 0 for page in map(keyframe, self.tiff.pages)) == 1

    def _another_has_the_size_of_a_level(self) -> bool:
        """Whether a page, such as a thumbnail, has a level's size: cuCIM would read it instead."""
        levels = {page.index: (page.imagewidth, page.imagelength) for page in self.levels}
        return any(
            page.index not in levels and (page.imagewidth, page.imagelength) in levels.values()
            for page in map(keyframe, self.tiff.pages)
        )

    def cucim_safe(self) -> bool:
        """Whether cuCIM is installed and reads every level exactly, without a crash."""
        return bool(
            all(map(_cucim_reads, self.levels))
            and not any(map(is_sparse, self.levels))
            and not self._another_has_the_size_of_a_level()
            and self.first.index == 0
            and not (self.tiff.is_ome or self.tiff.is_qpi or self.first.subifds)
            and importlib.util.find_spec("cucim")
        )


def _cucim_reads(page: Any) -> bool:
    """Whether cuCIM, as measured, reads this kind of page exactly."""
    plain = page.compression in (NONE, JPEG, LZW, JP2K_YCBCR, JP2K_RGB)
    deflate = page.compression in (ADOBE_DEFLATE, DEFLATE) and page.predictor == 1
    return (
        (plain or deflate)
        and page.is_tiled
        and page.samplesperpixel == 3
        and page.planarconfig == 1
        and page.dtype == np.uint8
    )
