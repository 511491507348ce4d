"""Annotations as outlines, in the GeoJSON of QuPath."""

import gzip
import json

import numpy as np
import shapely
from scipy import ndimage

from holohisto.annotation import Annotation
from holohisto.config.sections import ClassOptions
from holohisto.masks import outlines
from holohisto.masks import runs as rle
from holohisto.masks.geojson import geometry
from holohisto.runtime.arithmetic import ceil_div
from holohisto.slide.scale import Scale

SIZE = (341, 267)
ONE = {"glomerulus": ClassOptions()}
TWO = {"capsule": ClassOptions(), "tuft": ClassOptions()}


def feature(shape, classification="glomerulus", **properties):
    if isinstance(classification, str):
        classification = {"name": classification, "color": [1, 2, 3]}
    properties = {"objectType": "annotation", "classification": classification, **properties}
    shape = geometry(shape) if isinstance(shape, shapely.Geometry) else shape
    return {"type": "Feature", "id": "x", "geometry": shape, "properties": properties}


def write(path, features, **options):
    text = json.dumps({"type": "FeatureCollection", "features": features}, **options)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def read_all(path, classes=ONE, size=SIZE, factor=1, annotated=None):
    with Annotation(path, classes, size, Scale.whole(factor), annotated) as annotation:
        return annotation.read((0, 0), (ceil_div(size[0], factor), ceil_div(size[1], factor)))


def blobs(size, sigma, seed=0):
    noise = np.random.default_rng(seed).random((size[1], size[0]))
    return ndimage.gaussian_filter(noise, sigma) > 0.5


def features_of(mask, name="glomerulus"):
    runs = rle.find(mask)
    _, polygons = outlines.trace(runs, rle.label(runs, diagonal=True)[1])
    return [feature(polygon, name) for polygon in polygons]


def square(x, y, side):
    return shapely.box(x, y, x + side, y + side)
