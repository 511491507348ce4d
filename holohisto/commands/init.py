"""Write a sample sheet of the slides in a folder."""

import argparse
import collections
import logging
from pathlib import Path

from holohisto.errors import HolohistoError
from holohisto.runtime import atomic
from holohisto.sheet.cells import SPLITS
from holohisto.sheet.layouts import folder, kpis, neptune
from holohisto.sheet.layouts.found import FoundSlide, require, table
from holohisto.sheet.rows import read_sheet

logger = logging.getLogger(__name__)

LAYOUTS = {
    "folder": "any folder of slides, annotations beside them or in masks/",
    "kpis": "the KPIs 2024 challenge: whole slides, or, without any, patches",
    "neptune": "NEPTUNE's ROI images, one annotated structure each",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    layouts = parser.add_subparsers(
        dest="layout", metavar="LAYOUT", required=True, help="how the folder is organised"
    )
    for name, summary in LAYOUTS.items():
        layout = layouts.add_parser(name, help=summary, description=summary)
        layout.add_argument(
            "folder", type=Path, metavar="DIR", help="folder to search, with its sub-folders"
        )
        layout.add_argument(
            "--output",
            type=Path,
            default=Path("config/slides.tsv"),
            help="the sheet (default: %(default)s)",
        )
        layout.add_argument("--force", action="store_true", help="replace an existing sheet")
        if name == "kpis":
            layout.add_argument(
                "--level", choices=kpis.PATTERNS, help="slides or patches, if the folder has both"
            )


def run(arguments: argparse.Namespace) -> None:
    output: Path = arguments.output
    require(arguments.folder)
    if output.exists() and not arguments.force:
        raise HolohistoError(
            output, "is already there", advice="give another --output, or --force to replace it"
        )
    slides = _find(arguments)
    atomic.write_text(output, table(slides))
    read_sheet(output)
    _log_summary(output, slides)


def _find(arguments: argparse.Namespace) -> list[FoundSlide]:
    if arguments.layout == "kpis":
        return kpis.find(arguments.folder, arguments.level)
    layout = {"folder": folder, "neptune": neptune}[arguments.layout]
    return layout.find(arguments.folder)


def _log_summary(output: Path, slides: list[FoundSlide]) -> None:
    splits = collections.Counter(slide.split for slide in slides)
    by_split = ", ".join(f"{splits[split]} {split}" for split in SPLITS if splits[split])
    groups = collections.Counter(slide.group for slide in slides if slide.group)
    by_group = "".join(f"; {count} {group}" for group, count in sorted(groups.items()))
    logger.info("wrote %s: %d slides (%s%s)", output, len(slides), by_split, by_group)
    if sizes := sorted({slide.mpp for slide in slides if slide.mpp}):
        logger.info(
            "at %s um per pixel: set `check.mpp` to %g or more",
            ", ".join(f"{size:g}" for size in sizes),
            sizes[-1],
        )
    subjects = {slide.subject for slide in slides if slide.subject}
    if subjects:
        logger.info("%d subjects, distinguished by file names", len(subjects))
