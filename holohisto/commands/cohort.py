"""`holohisto cohort`: gather the scores of all slides into tables and compare the models."""

import argparse
import logging
from pathlib import Path

from holohisto.config.parsing import from_json
from holohisto.config.sections import Classes, CohortOptions
from holohisto.errors import HolohistoError
from holohisto.planning.leaks import same_views
from holohisto.runtime.results import Results
from holohisto.sheet.rows import read_sheet
from holohisto.statistics.cohort import absent_lines, cohort_tables, overall_lines, read_scores
from holohisto.statistics.files import write_table

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sheet", type=Path, required=True, help="the sample sheet")
    parser.add_argument(
        "--results", type=Results, default="results", help="folder of the run's results"
    )
    parser.add_argument("--models", required=True, help="names of the models, separated by commas")
    parser.add_argument(
        "--reference", help="model that the others are compared with (default: the first)"
    )
    parser.add_argument(
        "--splits",
        default="test",
        help="splits to score, separated by commas (default: %(default)s)",
    )
    parser.add_argument(
        "--options",
        type=from_json(CohortOptions),
        default=CohortOptions(),
        help="section `cohort` of the configuration, JSON (default: its defaults)",
    )
    parser.add_argument(
        "--classes",
        type=from_json(Classes),
        default={},
        help="section `classes` of the configuration, JSON, to check the sheet against",
    )
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        help="folder for slides.tsv, groups.tsv, comparisons.tsv, objects.tsv, distributions.tsv",
    )


def run(arguments: argparse.Namespace) -> None:
    models = [name for name in arguments.models.split(",") if name]
    reference = arguments.reference or models[0]
    if reference not in models:
        raise HolohistoError("--reference", "is no model", found=reference, allowed=models)
    splits = arguments.splits.split(",")
    rows = read_sheet(arguments.sheet, tuple(arguments.classes) or None).values()
    scored = [r for r in rows if r.split in splits and not r.exclude and r.annotation is not None]
    for slide, sentence in same_views(rows, arguments.results.foreground_picture).items():
        logger.warning("slide %s: %s", slide, sentence)
    slides, objects = read_scores(models, scored, arguments.results)
    tables = cohort_tables(slides, objects, reference, arguments.options)
    for name, table in tables.items():
        write_table(table, arguments.output / f"{name}.tsv")
    lines = list(overall_lines(tables["groups"]))
    for line in lines:
        logger.info("%s", line)
    absent = list(absent_lines(tables["groups"]))
    for line in absent:
        logger.warning("%s", line)
    if not lines and not absent:
        logger.warning("no scores at all: the tables have headers only")
