"""`holohisto adopt`: use masks made by another tool as a model's labels."""

import argparse
import logging
from pathlib import Path

from holohisto.annotation import Annotation
from holohisto.config.parsing import from_json
from holohisto.config.sections import Classes
from holohisto.masks.adopted import BAND, DIVISOR, adopted_bands, certain
from holohisto.pyramid.raster import Raster
from holohisto.pyramid.write import write_rows
from holohisto.runtime.arithmetic import ceil_div
from holohisto.runtime.progress import phase
from holohisto.slide.record import SlideRecord

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    masks = "masks of the slide, TIFF, PNG or GeoJSON, read like an annotation"
    add("masks", type=Path, metavar="MASKS", help=masks)
    add("--record", type=Path, required=True, metavar="FILE", help="record of `check`, .json")
    add("--model", required=True, metavar="NAME", help="name of the model that the masks stand for")
    classes = {"type": from_json(Classes), "required": True, "metavar": "JSON"}
    add("--classes", **classes, help="the configuration's section `classes`")
    add("--labels", type=Path, required=True, metavar="FILE", help="labels to write, .tif")
    probability = "probability map to write, .tif"
    add("--probability", type=Path, required=True, metavar="FILE", help=probability)


def run(arguments: argparse.Namespace) -> None:
    classes: Classes = arguments.classes
    record = SlideRecord.read(arguments.record)
    header = {
        "slide": record.slide,
        "size": list(record.size),
        "mpp": record.mpp,
        "scale": record.scale.texts,
        "classes": list(classes),
        "model": arguments.model,
        "pretrained": "masks from elsewhere",
        "masks": str(arguments.masks),
    }
    size, mpp = record.working_size, record.working_mpp
    with (
        Annotation(
            arguments.masks, classes, record.size, record.scale, bounds=record.bounds
        ) as masks,
        phase("labels"),
    ):
        write_rows(arguments.labels, adopted_bands(masks, record), size, mpp, header)
    with Raster(arguments.labels, sealed=True) as labels:
        if not any(band.any() for band in labels.rows()):
            logger.warning(
                "%s: shows none of the classes; if wrong, set `classes.<name>.values`",
                arguments.masks,
            )
        small = ceil_div(size[0], DIVISOR), ceil_div(size[1], DIVISOR)
        header["divisor"] = DIVISOR
        probability = map(certain, labels.rows(BAND))
        write_rows(arguments.probability, probability, small, mpp * DIVISOR, header)
