"""Pictures as small JPEGs inside the page."""

import base64
import io
import logging
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

logger = logging.getLogger(__name__)
QUALITIES = (82, 74, 66, 58, 50)
SHRINK = 0.85


@dataclass(frozen=True)
class Picture:
    """A picture ready for an `<img>`."""

    data: str
    """A data: address."""
    width: int
    height: int


def picture(path: Path, side: int, budget: int) -> Picture | None:
    """The picture with its longer side at most `side` pixels and at most `budget` bytes.

    Quality goes down first, then size. None when the file is absent or no picture.
    """
    try:
        with Image.open(path) as opened:
            opened.draft("RGB", (side, side))  # a JPEG decodes at a fraction of its size
            image = opened.convert("RGB")
    except FileNotFoundError:
        return None
    except (OSError, Image.DecompressionBombError) as error:
        logger.warning("%s: left out (%s)", path, error)
        return None
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    while True:
        for quality in QUALITIES:
            data = _jpeg(image, quality)
            if len(data) <= budget:
                break
        if len(data) <= budget or max(image.size) <= 64:
            text = base64.b64encode(data).decode()
            return Picture(f"data:image/jpeg;base64,{text}", *image.size)
        smaller = (round(image.width * SHRINK) or 1, round(image.height * SHRINK) or 1)
        image = image.resize(smaller, Image.Resampling.LANCZOS)


def _jpeg(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, optimize=True, progressive=True)
    return buffer.getvalue()
