"""Pictures as small JPEGs, embedded in the page."""

import base64
import io
import logging
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

logger = logging.getLogger(__name__)
QUALITIES = (82, 74, 66, 58, 50)
"""JPEG qualities to try."""
SHRINK = 0.85
"""Factor of the size once the lowest quality is still too large."""


@dataclass(frozen=True)
class EmbeddedPicture:
    """A picture ready for an `<img>`."""

    data: str
    """A `data:` URL."""
    width: int
    height: int


def embedded(path: Path, side: int, budget: int) -> EmbeddedPicture | None:
    """The picture with its longer side at most `side` pixels and at most `budget` bytes.

    Quality is lowered first, then size. None if the file is absent or no picture.
    """
    try:
        with Image.open(path, formats=("JPEG", "PNG")) as opened:
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
            return EmbeddedPicture(f"data:image/jpeg;base64,{text}", *image.size)
        smaller = (round(image.width * SHRINK) or 1, round(image.height * SHRINK) or 1)
        image = image.resize(smaller, Image.Resampling.LANCZOS)


def _jpeg(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, optimize=True, progressive=True)
    return buffer.getvalue()
