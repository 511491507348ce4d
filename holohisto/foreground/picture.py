"""A picture of the slide with the outline of its tissue."""

from pathlib import Path

import numpy as np
from scipy import ndimage

from holohisto.foreground.map import Foreground
from holohisto.runtime.atomic import replacing
from holohisto.slide import Slide

PICTURE_SIDE = 1200
OUTLINE = (0, 160, 60)


def write_picture(path: Path, slide: Slide, foreground: Foreground, factor: int) -> None:
    """Write a JPEG of the slide with the outline of its tissue.

    Args:
        path: The JPEG, at most PICTURE_SIDE pixels a side.
        slide: The slide.
        foreground: Its tissue.
        factor: Level-0 pixels a side of a working pixel.

    Raises:
        HolohistoError: the slide is damaged, or the file cannot be written.
    """
    from PIL import Image

    rgb, scale = slide.overview(PICTURE_SIDE)
    cells = scale / (factor * foreground.cell)
    rows, columns = (
        np.minimum(((np.arange(length) + 0.5) * cells).astype(int), limit - 1)
        for length, limit in zip(rgb.shape[:2], foreground.mask.shape, strict=True)
    )
    mask = foreground.mask[np.ix_(rows, columns)]
    inner = np.asarray(ndimage.binary_erosion(mask, np.ones((3, 3), bool), iterations=2))
    picture = rgb.copy()
    picture[mask > inner] = OUTLINE
    with replacing(path) as temporary:
        Image.fromarray(picture).save(temporary, "JPEG", quality=85)
