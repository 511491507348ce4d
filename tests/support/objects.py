"""Random masks, labels as bands, and the objects found in them as a map."""

import numpy as np
from scipy import ndimage

from holohisto.masks import cleaning, outlines
from holohisto.masks.cleaning import Bands, Objects

SQUARE = np.ones((3, 3))


def bands_of(labels: np.ndarray) -> Bands:
    height, width = labels.shape
    step = cleaning.BAND
    return Bands((width, height), lambda: (labels[y : y + step] for y in range(0, height, step)))


def delivered(objects: Objects, bands: Bands) -> tuple[np.ndarray, dict]:
    """Object number of each pixel, -1 for none, and the outlines."""
    number = np.full(bands.size[::-1], -1)
    for band, rows, labels in bands:
        runs, item = objects.runs(labels, rows, band)
        for y, start, end, k in zip(runs.y, runs.start, runs.end, item, strict=True):
            number[y, start:end] = k
    polygons = {}
    for _, numbers, several in outlines.polygons_of(bands, {objects.bit: objects}):
        for k, polygon in zip(numbers.tolist(), several, strict=True):
            assert k not in polygons
            polygons[k] = polygon
    return number, polygons


def cleaned_slowly(
    mask: np.ndarray,
    min_pixels: int,
    max_hole: int,
    chances: np.ndarray | None = None,
    likely: float = 0.0,
) -> np.ndarray:
    """The rule in words: fill holes below the limit, then drop objects too small or unlikely."""
    mask = mask.copy()
    holes, count = ndimage.label(~mask)
    border = set(np.concatenate([holes[0], holes[-1], holes[:, 0], holes[:, -1]]).tolist())
    for k in range(1, count + 1):
        if k not in border and (holes == k).sum() < max_hole:
            mask |= holes == k
    objects, count = ndimage.label(mask, SQUARE)
    for k in range(1, count + 1):
        pixels = objects == k
        if pixels.sum() < min_pixels or (likely and chances[pixels].mean() < 255 * likely):
            mask &= ~pixels
    return mask


def random_masks(count: int):
    rng = np.random.default_rng(7)
    for trial in range(count):
        height, width = rng.integers(1, 48, 2)
        mask = rng.random((height, width)) < rng.random()
        yield ndimage.uniform_filter(mask.astype(float), 3) > 0.5 if trial % 2 else mask
