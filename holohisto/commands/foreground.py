"""`holohisto foreground`: find the tissue of a slide."""

import argparse
import logging
from pathlib import Path

from holohisto.config.parsing import from_json
from holohisto.config.sections import ForegroundOptions
from holohisto.errors import HolohistoError
from holohisto.foreground.map import find_foreground, save_foreground
from holohisto.foreground.picture import write_picture
from holohisto.slide.record import SlideRecord

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", type=Path, metavar="IMAGE", help="the slide")
    parser.add_argument("--record", type=Path, required=True, help="its record of `check`")
    parser.add_argument("--saturation", type=float, help="saturation of tissue, 0 to 1")
    parser.add_argument(
        "--options",
        type=from_json(ForegroundOptions),
        default=ForegroundOptions(),
        metavar="JSON",
        help="the config's section `foreground`",
    )
    parser.add_argument(
        "--foreground", type=Path, required=True, metavar="FILE", help="map of the tissue, .tif"
    )
    parser.add_argument(
        "--picture", type=Path, required=True, metavar="FILE", help="slide with outline, .jpg"
    )


def run(arguments: argparse.Namespace) -> None:
    threshold = arguments.saturation
    if threshold is not None and not 0 <= threshold <= 1:  # as in the sheet; false for nan as well
        raise HolohistoError(
            "--saturation", "is no saturation", found=threshold, allowed="a number from 0 to 1"
        )
    record = SlideRecord.read(arguments.record)
    with record.open(arguments.image) as slide:
        found = find_foreground(slide, record, arguments.options, threshold)
        logger.info(
            "slide %s: %.1f %% tissue at saturation %.3f",
            record.slide,
            100 * found.share,
            found.saturation,
        )
        write_picture(arguments.picture, slide, found, record.factor)
    save_foreground(arguments.foreground, found, record)
