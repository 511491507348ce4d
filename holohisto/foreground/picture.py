"""A picture of the slide with the outline of its tissue."""

from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from holohisto.foreground.map import Foreground
from holohisto.runtime.pictures import write_jpeg
from holohisto.slide import Slide
from holohisto.slide.scale import Scale

PICTURE_SIDE = 1200
OUTLINE = (0, 160, 60)


def write_picture(path: Path, slide: Slide, foreground: Foreground, scale: Scale) -> None:
    """Write a JPEG of the slide with the outline of its tissue.

    Args:
        path: The JPEG, at most PICTURE_SIDE pixels a side.
        slide: The slide.
        foreground: Its tissue.
        scale: Level-0 pixels per working pixel.

    Raises:
        HolohistoError: the slide is damaged, or the file cannot be written.
    """
    rgb, reduced = slide.overview(PICTURE_SIDE)
    cells = [reduced / float(step * foreground.cell) for step in (scale.y, scale.x)]
    rows, columns = (
        np.minimum(((np.arange(length) + 0.5) * step).astype(int), limit - 1)
        for length, step, limit in zip(rgb.shape[:2], cells, foreground.mask.shape, strict=True)
    )
    mask = foreground.mask[np.ix_(rows, columns)]
    inner = np.asarray(ndimage.binary_erosion(mask, np.ones((3, 3), bool), iterations=2))
    picture = rgb.copy()
    picture[mask > inner] = OUTLINE
    width, height = rgb.shape[1], rgb.shape[0]
    if scale.x != scale.y:  # oblong pixels
        height = max(1, round(height * scale.x / scale.y))
        picture = np.asarray(Image.fromarray(picture).resize((width, height)))
    write_jpeg(path, picture, quality=85)
