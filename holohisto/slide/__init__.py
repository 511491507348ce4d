"""Reading slides: any format, level-0 positions, working resolution."""

from holohisto.slide.slide import Slide

__all__ = ["Slide"]
