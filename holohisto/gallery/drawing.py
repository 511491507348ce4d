"""Small pictures of a slide's fields: outlines, a scale bar, a box."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont
from scipy import ndimage

from holohisto.runtime.pictures import jpeg_bytes
from holohisto.slide.scale import Scale, first_pixels

LINE = 2
"""Width of an outline, picture pixels."""
WHITE = "#ffffff"
"""Colour of the annotation beside a model's."""
LONGEST = 4096
"""Longest side that is read, level-0 pixels: only the middle of a larger error is shown."""


@dataclass(frozen=True)
class FieldOfView:
    """A rectangle of a slide, level-0 pixels."""

    xy: tuple[int, int]
    size: tuple[int, int]
    """Width and height."""

    @staticmethod
    def around(
        centre: Sequence[float], side: float, slide: tuple[int, int], scale: Scale
    ) -> "FieldOfView":
        """A square about `centre`, moved into the slide where it would reach beyond it.

        Args:
            centre: x and y, level-0 pixels.
            side: of the square, level-0 pixels along x; rounded to whole working pixels.
            slide: width and height, level-0 pixels.
            scale: level-0 pixels per working pixel.
        """
        corner, size = [], []
        for middle, whole, step in zip(centre, slide, scale, strict=True):
            length = int(first_pixels(step, max(1, round(side / float(scale.x)))))
            start = min(max(0.0, middle - length / 2), max(0, whole - length))
            corner.append(int(first_pixels(step, int(start // step))))
            size.append(length)
        return FieldOfView((corner[0], corner[1]), (size[0], size[1]))


def shrunk(pixels: np.ndarray, side: int) -> np.ndarray:
    """A picture (h, w, 3) uint8 or mask (h, w) bool with its longer side at most `side` pixels."""
    height, width = pixels.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if pixels.dtype == bool:
        image = Image.fromarray(pixels.astype(np.uint8) * 255).resize(size, Image.Resampling.BOX)
        return np.asarray(image) >= 128
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def squared(pixels: np.ndarray, scale: Scale) -> np.ndarray:
    """Level-0 pixels (h, w, ...) of a slide, those of the coarser side repeated if oblong."""
    finest = max(scale)
    for axis, step in enumerate((scale.y, scale.x)):
        length = round(pixels.shape[axis] * finest / step)
        if step != finest:
            pixels = np.take(pixels, np.arange(length) * pixels.shape[axis] // length, axis)
    return pixels


def outlined(picture: np.ndarray, mask: np.ndarray, colour: str) -> np.ndarray:
    """The picture with the mask's outline, drawn inside the mask; white gets a dark rim outside.

    Args:
        picture: (h, w, 3) uint8.
        mask: (h, w) bool.
        colour: #rrggbb.
    """
    result = picture.copy()
    inner = np.asarray(ndimage.binary_erosion(mask, iterations=LINE, border_value=1), bool)
    result[mask & ~inner] = ImageColor.getrgb(colour)
    if colour == WHITE:
        result[ndimage.binary_dilation(mask) & ~mask] = 0
    return result


def bar_length(width_um: float) -> float:
    """Length of a scale bar, um: 1, 2 or 5 times a power of ten, at most a third of the width."""
    power = 10.0 ** np.floor(np.log10(width_um / 3))
    return float(max(factor * power for factor in (1, 2, 5) if factor * power <= width_um / 3))


def with_bar(picture: np.ndarray, width_um: float) -> np.ndarray:
    """The picture, `width_um` micrometres wide, with a scale bar in its lower left corner."""
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    length = bar_length(width_um)
    pixels = length / width_um * image.width
    left, base = 8, image.height - 10
    draw.rectangle((left - 1, base - 1, left + pixels + 1, base + 4), fill="#000000")
    draw.rectangle((left, base, left + pixels, base + 3), fill=WHITE)
    # Pillow's own font has no letter µ.
    text = f"{length:g} um" if length < 1000 else f"{length / 1000:g} mm"
    font = ImageFont.load_default(13)
    draw.text((left, base - 18), text, fill=WHITE, font=font, stroke_width=2, stroke_fill="#000000")
    return np.asarray(image)


def with_box(picture: np.ndarray, field: FieldOfView, slide: tuple[int, int]) -> np.ndarray:
    """The picture of a whole slide with a frame around `field`."""
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    scale = picture.shape[1] / slide[0], picture.shape[0] / slide[1]
    left, top = (corner * s for corner, s in zip(field.xy, scale, strict=True))
    right, bottom = (
        (corner + length) * s for corner, length, s in zip(field.xy, field.size, scale, strict=True)
    )
    right, bottom = max(right, left + 4), max(bottom, top + 4)
    draw.rectangle((left - 2, top - 2, right + 2, bottom + 2), outline="#000000")
    draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=WHITE)
    return np.asarray(image)


def save_picture(folder: Path, name: str, picture: np.ndarray) -> str:
    """Write the picture (h, w, 3) uint8 as a JPEG; returns the file's name."""
    file = f"{name}.jpg"
    (folder / file).write_bytes(jpeg_bytes(picture, quality=88, subsampling=0))
    return file
