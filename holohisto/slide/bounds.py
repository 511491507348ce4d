"""The scanned part of a slide whose level 0 is larger, as of MIRAX, Leica and Ventana scanners.

QuPath shows this part alone, so its coordinates count from there. Here all positions count from the
corner of level 0.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Bounds(NamedTuple):
    """A rectangle of level-0 pixels."""

    x: int
    y: int
    width: int
    height: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.width, self.height


def bounds_of(properties: Mapping[str, str], size: tuple[int, int]) -> Bounds | None:
    """Return the scanned part that OpenSlide reports; None where it is the whole slide, or unknown.

    Args:
        properties: OpenSlide's properties.
        size: Width and height of level 0.
    """
    try:
        x, y, width, height = (
            int(properties[f"openslide.bounds-{side}"]) for side in ("x", "y", "width", "height")
        )
    except (KeyError, ValueError):
        return None
    x, y = max(0, x), max(0, y)
    width, height = min(width, size[0] - x), min(height, size[1] - y)
    if min(width, height) < 1 or (width, height) == tuple(size):
        return None
    return Bounds(x, y, width, height)
