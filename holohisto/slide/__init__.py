"""Reading slides: any format, level-0 positions, working resolution."""

from holohisto.slide.slide import Slide, block_means

__all__ = ["Slide", "block_means"]
