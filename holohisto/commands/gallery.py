"""`holohisto gallery`: pictures of typical fields by every model, and of the largest errors."""

import argparse
import logging
from pathlib import Path

from holohisto.config.parsing import from_json
from holohisto.config.sections import Classes, GalleryOptions
from holohisto.gallery.folder import write_gallery
from holohisto.runtime.results import Results
from holohisto.sheet.rows import read_sheet

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sheet", type=Path, required=True, help="the sample sheet")
    parser.add_argument(
        "--results", type=Results, default="results", help="folder of the run's results"
    )
    parser.add_argument(
        "--models", required=True, help="names of the models to show, separated by commas"
    )
    parser.add_argument(
        "--reference", help="model whose scores choose the slides (default: the first)"
    )
    parser.add_argument(
        "--options",
        type=from_json(GalleryOptions),
        default=GalleryOptions(),
        help="section `gallery` of the configuration, JSON (default: its defaults)",
    )
    parser.add_argument(
        "--classes",
        type=from_json(Classes),
        required=True,
        help="section `classes` of the configuration, JSON",
    )
    parser.add_argument(
        "--output", type=Path, required=True, help="folder for the pictures and gallery.json"
    )


def run(arguments: argparse.Namespace) -> None:
    models = arguments.models.split(",")
    index = write_gallery(
        read_sheet(arguments.sheet, tuple(arguments.classes)),
        arguments.results,
        arguments.classes,
        models,
        arguments.reference or models[0],
        arguments.options,
        arguments.output,
    )
    counts = len(index["fields"]), len(index["failures"])
    logger.info("%s: fields of %d slides, errors of %d", arguments.output, *counts)
