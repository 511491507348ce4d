"""`holohisto adopt`: take masks from elsewhere as a model's labels, to be delivered and scored."""

import argparse
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from holohisto.annotation import Annotation
from holohisto.config.parsing import from_json
from holohisto.config.sections import Classes
from holohisto.pyramid.raster import Raster
from holohisto.pyramid.write import write_rows
from holohisto.runtime import progress
from holohisto.runtime.arithmetic import ceil_div
from holohisto.slide.record import SlideRecord

logger = logging.getLogger(__name__)

BAND = 512
DIVISOR = 4
"""Working pixels to a pixel of the probability map, as infer writes it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("masks", type=Path, help="TIFF, PNG or GeoJSON, read like an annotation")
    parser.add_argument("--record", type=Path, required=True, help="record of check")
    parser.add_argument("--model", required=True, help="name that the masks go by")
    parser.add_argument(
        "--classes", type=from_json(Classes), required=True, help="section `classes`, JSON"
    )
    parser.add_argument("--labels", type=Path, required=True, help="labels to write")
    parser.add_argument("--probability", type=Path, required=True, help="probabilities to write")


def run(arguments: argparse.Namespace) -> None:
    classes: Classes = arguments.classes
    record = SlideRecord.read(arguments.record)
    header = {
        "slide": record.slide,
        "size": list(record.size),
        "mpp": record.mpp,
        "factor": record.factor,
        "classes": list(classes),
        "model": arguments.model,
        "pretrained": "masks from elsewhere",
        "masks": str(arguments.masks),
    }
    size, mpp = record.working_size, record.working_mpp
    with (
        Annotation(arguments.masks, classes, record.size, record.factor) as masks,
        progress.phase("labels"),
    ):
        write_rows(arguments.labels, _bands(masks, record), size, mpp, header)
    with Raster(arguments.labels) as labels:
        if not any(band.any() for band in labels.rows()):
            logger.warning(
                "%s: shows none of the classes; if wrong, set `classes.<name>.values`",
                arguments.masks,
            )
        small = ceil_div(size[0], DIVISOR), ceil_div(size[1], DIVISOR)
        header["divisor"] = DIVISOR
        certain = map(_certain, labels.rows(BAND))
        write_rows(arguments.probability, certain, small, mpp * DIVISOR, header)


def _bands(masks: Annotation, record: SlideRecord) -> Iterator[np.ndarray]:
    """Rows at working resolution from the top, (rows, width) uint8, bit i for class i."""
    width, height = record.working_size
    for top in range(0, height, BAND):
        yield masks.read((0, top * record.factor), (width, min(BAND, height - top)))


def _certain(labels: np.ndarray) -> np.ndarray:
    """Probability of a band, 255 wherever any of the pixels is of a class: nobody told another."""
    height, width = (ceil_div(side, DIVISOR) for side in labels.shape)
    padded = np.zeros((height * DIVISOR, width * DIVISOR), bool)
    padded[: labels.shape[0], : labels.shape[1]] = labels != 0
    blocks = padded.reshape(height, DIVISOR, width, DIVISOR)
    return np.where(blocks.any(axis=(1, 3)), np.uint8(255), np.uint8(0))
