"""Writing pictures whole: Pillow itself takes a write that a full disk cut short for success."""

import io
from pathlib import Path
from typing import Any

from holohisto.runtime.atomic import replacing


def jpeg_bytes(picture: Any, **options: Any) -> bytes:
    """Return a picture as a JPEG file.

    Args:
        picture: A Pillow image, or RGB (height, width, 3) uint8.
        options: Pillow's options of JPEG, such as `quality`.
    """
    from PIL import Image

    image: Any = Image.fromarray(picture) if hasattr(picture, "shape") else picture
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def write_jpeg(path: Path, picture: Any, **options: Any) -> None:
    """Write a picture as a JPEG, atomically.

    Args:
        path: File to write.
        picture: A Pillow image, or RGB (height, width, 3) uint8.
        options: Pillow's options of JPEG, such as `quality`.

    Raises:
        HolohistoError: the file cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(jpeg_bytes(picture, **options))
