"""Small pictures of parts of slides: outlines, a scale bar, a box."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont
from scipy import ndimage

LINE = 2
"""Width of an outline, picture pixels."""
WHITE = "#ffffff"


@dataclass(frozen=True)
class Field:
    """A rectangle of a slide, level-0 pixels; both corners are multiples of the working factor."""

    xy: tuple[int, int]
    size: tuple[int, int]
    """Width and height."""

    @staticmethod
    def around(
        centre: Sequence[float], side: float, slide: tuple[int, int], factor: int
    ) -> "Field":
        """A square about `centre`, moved into the slide where it would stick out."""
        length = max(1, round(side / factor)) * factor
        corner = []
        for middle, whole in zip(centre, slide, strict=True):
            start = min(max(0.0, middle - length / 2), max(0, whole - length))
            corner.append(int(start) // factor * factor)
        return Field((corner[0], corner[1]), (length, length))


def shrunk(pixels: np.ndarray, side: int) -> np.ndarray:
    """A picture (h, w, 3) or mask (h, w) with its longer side at most `side` pixels."""
    height, width = pixels.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if pixels.dtype == bool:
        image = Image.fromarray(pixels.astype(np.uint8) * 255).resize(size, Image.Resampling.BOX)
        return np.asarray(image) >= 128
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def outlined(picture: np.ndarray, mask: np.ndarray, colour: str) -> np.ndarray:
    """The picture with the mask's outline, inside of the mask; white ones get a dark rim outside.

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
    """A round length of at most a third of a field's width: 1, 2 or 5 times a power of ten."""
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


def with_box(picture: np.ndarray, field: Field, slide: tuple[int, int]) -> np.ndarray:
    """The picture of a whole slide with a frame around `field`."""
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    scale = picture.shape[1] / slide[0], picture.shape[0] / slide[1]
    left, top = (place * s for place, s in zip(field.xy, scale, strict=True))
    right, bottom = (
        (place + length) * s for place, length, s in zip(field.xy, field.size, scale, strict=True)
    )
    right, bottom = max(right, left + 4), max(bottom, top + 4)
    draw.rectangle((left - 2, top - 2, right + 2, bottom + 2), outline="#000000")
    draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=WHITE)
    return np.asarray(image)
