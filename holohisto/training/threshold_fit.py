"""Fitting the colour threshold: one pass over the foreground tiles of the training slides."""

import torch

from holohisto.runtime.progress import track
from holohisto.segmenter.baselines.threshold import Histograms, ThresholdSegmenter
from holohisto.training.sampler import foreground_tiles
from holohisto.training.schedule import PIXEL_SNAP
from holohisto.training.slides import TrainingSlide, View, stack


def fit_threshold(
    slides: list[TrainingSlide], classes: int, tile: tuple[int, int]
) -> ThresholdSegmenter:
    """Return the colour threshold with the best Dice on all foreground tiles of the slides.

    Args:
        slides: The training slides.
        classes: Number of classes.
        tile: Width and height of the tiles that are read, working pixels.
    """
    histograms = Histograms(classes)
    tiles = [(s, t) for s in slides for t in foreground_tiles(s.area, tile, PIXEL_SNAP)]
    for slide, position in track(tiles, len(tiles), "threshold"):
        batch = stack([View(slide, position)], needs_tokens=False, needs_pixels=True)
        assert batch.rgb is not None
        histograms.add(
            torch.from_numpy(batch.rgb),
            torch.from_numpy(batch.target),
            torch.from_numpy(batch.known),
        )
    return histograms.best()
