"""The log-odds of each class on the slides, relative to those in the training tiles.

Tiles that are drawn around annotated objects show more of a class than the slides hold. A network
learns this prior, and predicts too much of the class. With the difference in log-odds added to its
logits, they are those of the slides (Saerens, Latinne and Decaestecker 2002,
doi.org/10.1162/089976602753284446).
"""

from collections.abc import Sequence

import numpy as np

from holohisto.training.sampler import GridSampler, RandomSampler, Sample, SamplingArea
from holohisto.training.slides import TrainingSlide

SAMPLES = 512
"""Number of the first samples whose cells are counted."""


def prior_shift(
    slides: Sequence[TrainingSlide], sampler: RandomSampler | GridSampler
) -> np.ndarray:
    """Return the log-odds of each class on all slides minus those in the sampled tiles.

    Both are counted in foreground cells, of which a class has those with a pixel of it, on slides
    where it is known.

    Args:
        slides: The training slides, as indexed by the sampler.
        sampler: Draws the training tiles.

    Returns:
        (classes,) float64; 0 where the sampler prefers no annotated cells, and for a class that is
        unknown, in no cell or in all of them.
    """
    classes = len(slides[0].known)
    if isinstance(sampler, GridSampler) or sampler.annotated_share == 0:
        return np.zeros(classes)
    on_slides, in_tiles = (np.zeros((2, classes), np.int64) for _ in range(2))
    for slide in slides:
        area = slide.area
        on_slides += _counts(area.annotated[area.foreground], slide.known)
    for n in range(SAMPLES):
        sample = sampler(n)
        slide = slides[sample.slide]
        cells = _covered(slide.area, sample, sampler.variants[sample.variant].scale)
        annotated, foreground = slide.area.annotated[cells], slide.area.foreground[cells]
        in_tiles += _counts(annotated[foreground], slide.known)
    defined = (on_slides > 0).all(axis=0) & (in_tiles > 0).all(axis=0)
    shift = _log_odds(on_slides) - _log_odds(in_tiles)
    return np.where(defined, shift, 0.0)


def _counts(annotated: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the cells with and without each known class, (2, classes), of cells' classes (n,)."""
    histogram = np.bincount(annotated, minlength=256)
    bits = np.arange(256) >> np.arange(len(known))[:, None] & 1  # (classes, 256)
    present = bits @ histogram
    return np.stack([present, len(annotated) - present]) * known


def _log_odds(counts: np.ndarray) -> np.ndarray:
    present, absent = np.log(np.maximum(counts, 1))
    return present - absent


def _covered(area: SamplingArea, sample: Sample, scale: float) -> tuple[slice, slice]:
    """Return the rows and columns of the cells whose centres lie in a sample's tile."""
    tile = sample.tile
    rows, columns = (
        slice(*(max(0, int(np.ceil(end / scale / area.cell - 0.5))) for end in ends))
        for ends in ((tile.y, tile.y + tile.height), (tile.x, tile.x + tile.width))
    )
    return rows, columns
