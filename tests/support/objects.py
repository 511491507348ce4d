"""Labels as bands, and the objects found in them as a map."""

import numpy as np

from holohisto.masks import cleaning, outlines
from holohisto.masks.cleaning import Bands, Objects


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
