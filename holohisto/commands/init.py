"""`holohisto init`: write a sample sheet from what lies in a folder."""

import argparse
import collections
import logging
from pathlib import Path

from holohisto import atomic, cohort_folder, sheet
from holohisto.errors import HolohistoError

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    layouts = parser.add_subparsers(dest="layout", metavar="LAYOUT", required=True)
    summary = "any folder of slides, annotations beside them or in masks/"
    folder = layouts.add_parser("folder", help=summary, description=summary)
    folder.set_defaults(find=cohort_folder.find)
    for layout in (folder,):
        layout.add_argument("folder", type=Path, metavar="DIR", help="searched with sub-folders")
        layout.add_argument(
            "--output", type=Path, default=Path("config/slides.tsv"),
            help="the sheet (default: %(default)s)",
        )  # fmt: skip
        layout.add_argument("--force", action="store_true", help="replace an existing sheet")


def run(arguments: argparse.Namespace) -> None:
    output: Path = arguments.output
    cohort_folder.require(arguments.folder)
    if output.exists() and not arguments.force:
        raise HolohistoError(
            output, "is already there", advice="give another --output, or --force to replace it"
        )
    slides = arguments.find(arguments.folder)
    text = cohort_folder.table(slides)
    atomic.write_text(output, text)
    sheet.read(output)
    splits = collections.Counter(found.split for found in slides)
    told = ", ".join(f"{splits[split]} {split}" for split in sheet.SPLITS if splits[split])
    logger.info("wrote %s: %d slides (%s)", output, len(slides), told)
    if len(splits) > 1 or "predict" not in splits:
        logger.info(
            "the splits are a proposal: fill in column `subject`, so that no subject is in two"
        )
