"""Read whole-slide images of any format, at level-0 positions and any integer reduction."""

from holohisto.slide.slide import Slide

__all__ = ["Slide"]
