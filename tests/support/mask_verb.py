"""The verb mask on a small slide with objects of every kind."""

import json

import numpy as np
from labelled_slide import LabelledSlide

from holohisto import cli
from holohisto.masks import cleaning

CLASSES = {"tuft": {"colour": "#ff8000"}, "capsule": {}, "vessel": {}}
CASES = [((301, 1237), 1, 0.5), ((467, 2239), 2, 0.251), ((831, 2407), 4, 0.13)]


def draw(slide: LabelledSlide) -> np.ndarray:
    """Labels with a ring over a band border, a filled hole, a speck, and an edge object."""
    width, height = slide.working_size
    y, x = np.indices((height, width))
    labels = np.zeros((height, width), np.uint8)
    middle = (x - 60) ** 2 + (y - cleaning.BAND) ** 2
    labels[(middle < 45**2) & (middle > 15**2)] = 1  # a ring: its hole stays
    labels[20:40, 10:40] = 1
    labels[28:30, 20:23] = 0  # a small hole: filled
    labels[5:7, 5:7] = 1  # a speck: dropped
    labels[height - 30 :, width - 25 :] |= 2  # at the corner of the slide
    labels[30:60, 30:60] |= 2  # classes overlap
    return labels


def run_mask(slide: LabelledSlide, classes: dict, geojson="{slide}.geojson", **options) -> int:
    out = slide.folder / "out"
    return cli.main(
        [
            "mask",
            str(slide.labels),
            "--image",
            str(slide.image),
            "--record",
            str(slide.check),
            "--probability",
            str(slide.probability),
            "--options",
            json.dumps(options),
            "--classes",
            json.dumps(classes),
            "--masks",
            str(out / "{model}/{slide}_{class}.tif"),
            "--geojson",
            str(out / geojson),
            "--overlay",
            str(out / "{slide}.jpg"),
            "--facts",
            str(out / "{slide}.json"),
            *(["--annotation", str(slide.annotation)] if slide.annotation.exists() else []),
        ]
    )
