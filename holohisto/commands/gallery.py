"""`holohisto gallery`: pictures of typical fields, largest errors and least sure objects."""

import argparse
import logging
from pathlib import Path

from holohisto.config.parsing import from_json
from holohisto.config.sections import Classes, GalleryOptions
from holohisto.gallery.folder import write_gallery
from holohisto.runtime.results import Results
from holohisto.sheet.rows import read_sheet
from holohisto.statistics.files import write_table
from holohisto.statistics.uncertainty import ranking

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
    parser.add_argument(
        "--splits",
        default="val,test,predict",
        help="splits that are segmented, separated by commas (default: %(default)s)",
    )
    parser.add_argument(
        "--next", type=Path, help="table of the slides without annotation, the least sure first"
    )


def run(arguments: argparse.Namespace) -> None:
    models = arguments.models.split(",")
    reference = arguments.reference or models[0]
    rows = read_sheet(arguments.sheet, tuple(arguments.classes))
    splits = arguments.splits.split(",")
    predicted = [
        row
        for row in rows.values()
        if not row.exclude and row.annotation is None and row.split in splits
    ]
    ranked = ranking(predicted if arguments.next else (), arguments.results, reference)
    if arguments.next:
        write_table(ranked, arguments.next)
    index = write_gallery(
        rows,
        arguments.results,
        arguments.classes,
        models,
        reference,
        arguments.options,
        arguments.output,
        ranked["slide"].tolist(),
    )
    counts = (len(index[key]) for key in ("fields", "failures", "unsure"))
    logger.info(
        "%s: fields of %d slides, errors of %d, unsure objects of %d", arguments.output, *counts
    )
