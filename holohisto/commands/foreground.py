"""`holohisto foreground`: find the tissue of a slide."""

import argparse
import logging
from pathlib import Path

from holohisto.config.parsing import from_json
from holohisto.config.sections import ForegroundOptions
from holohisto.errors import HolohistoError
from holohisto.foreground.ink import ink_sentence
from holohisto.foreground.map import find_foreground, save_foreground
from holohisto.foreground.picture import write_picture
from holohisto.slide.record import SlideRecord

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", type=Path, metavar="IMAGE", help="image file of the slide")
    parser.add_argument(
        "--record", type=Path, required=True, metavar="FILE", help="record of `check`, .json"
    )
    parser.add_argument(
        "--saturation",
        type=float,
        metavar="NUMBER",
        help="saturation above which a cell is tissue, 0 to 1; empty: foreground.saturation",
    )
    parser.add_argument(
        "--options",
        type=from_json(ForegroundOptions),
        default=ForegroundOptions(),
        metavar="JSON",
        help="the configuration's section `foreground`",
    )
    parser.add_argument(
        "--foreground",
        type=Path,
        required=True,
        metavar="FILE",
        help="foreground map to write, .tif",
    )
    parser.add_argument(
        "--picture",
        type=Path,
        required=True,
        metavar="FILE",
        help="picture of the slide with the outline of its tissue, .jpg",
    )


def run(arguments: argparse.Namespace) -> None:
    saturation = arguments.saturation
    if saturation is not None and not 0 <= saturation <= 1:  # nan is refused too
        raise HolohistoError(
            "--saturation", "is no saturation", found=saturation, allowed="a number from 0 to 1"
        )
    record = SlideRecord.read(arguments.record)
    with record.open(arguments.image) as slide:
        foreground = find_foreground(slide, record, arguments.options, saturation)
        logger.info(
            "slide %s: %.1f %% tissue at saturation %.3f",
            record.slide,
            100 * foreground.share,
            foreground.saturation,
        )
        if ink := ink_sentence(foreground.ink):
            logger.warning("slide %s: %s", record.slide, ink)
        write_picture(arguments.picture, slide, foreground, record.scale)
    save_foreground(arguments.foreground, foreground, record)
