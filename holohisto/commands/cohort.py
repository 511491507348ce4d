"""`holohisto cohort`: gather the scores of all slides into tables and tests."""

import argparse
import json
import logging
from pathlib import Path
from typing import Any

import pandas as pd

from holohisto.config.parsing import from_json
from holohisto.config.sections import Classes, CohortOptions
from holohisto.errors import HolohistoError
from holohisto.runtime import atomic
from holohisto.runtime.results import Results
from holohisto.sheet.rows import read_sheet
from holohisto.statistics.comparisons import comparison_table
from holohisto.statistics.distributions import distribution_table
from holohisto.statistics.groups import ALL, group_table
from holohisto.statistics.rows import OBJECTS, SLIDES, object_rows, score_rows

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sheet", type=Path, required=True, help="the sample sheet")
    parser.add_argument(
        "--results", type=Results, default="results", help="folder of the run's results"
    )
    parser.add_argument("--models", required=True, help="names, separated by commas")
    parser.add_argument("--reference", help="model the others are tested against; else the first")
    parser.add_argument("--splits", default="test", help="splits scored, separated by commas")
    parser.add_argument(
        "--options",
        type=from_json(CohortOptions),
        default=CohortOptions(),
        help="section `cohort`, JSON",
    )
    parser.add_argument(
        "--classes", type=from_json(Classes), default={}, help="section `classes`, JSON"
    )
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        help="folder for slides.tsv, groups.tsv, comparisons.tsv, objects.tsv, distributions.tsv",
    )


def run(arguments: argparse.Namespace) -> None:
    options: CohortOptions = arguments.options
    classes = tuple(arguments.classes)
    models = [name for name in arguments.models.split(",") if name]
    reference = arguments.reference or models[0]
    if reference not in models:
        raise HolohistoError("--reference", "is no model", found=reference, allowed=models)
    slides, objects = _read_scores(arguments, models, classes)
    tables = {
        "slides": slides,
        "groups": group_table(slides),
        "comparisons": comparison_table(
            slides, reference, options.alpha, options.bootstrap, options.confidence
        ),
        "objects": objects,
        "distributions": distribution_table(objects, slides),
    }
    for name, table in tables.items():
        text = table.to_csv(sep="\t", index=False, float_format="%.9g", lineterminator="\n")
        atomic.write_text(arguments.output / f"{name}.tsv", text)
    _tell(tables["groups"])


def _read_scores(
    arguments: argparse.Namespace, models: list[str], classes: tuple[str, ...]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every metrics file there is, in the sheet's order; slides without one are told."""
    slides: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    splits = arguments.splits.split(",")
    rows = read_sheet(arguments.sheet, classes or None).values()
    scored = [r for r in rows if r.split in splits and not r.exclude and r.annotation is not None]
    for model in models:
        for row in scored:
            path = arguments.results.metrics(model, row.slide)
            if not path.exists():
                logger.warning("%s: no scores of model %s (%s)", row.slide, model, path)
                continue
            record = _record(path, model)
            slides += score_rows(record, row)
            objects += object_rows(record, row)
    return (
        pd.DataFrame(slides, columns=list(SLIDES)),
        pd.DataFrame(objects, columns=list(OBJECTS)),
    )


def _record(path: Path, model: str) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text())
        return {**record, "model": model, "classes": dict(record["classes"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HolohistoError(
            path,
            f"is no metrics file ({type(error).__name__}: {error})",
            advice="delete it and run again",
        ) from error


def _tell(groups: pd.DataFrame) -> None:
    overall = groups[groups["group"] == ALL]
    for row in overall.to_dict("records"):
        logger.info(
            "%s, %s: mean slide Dice of the groups %.4f, object F1 %.4f (%d slides)",
            row["model"],
            row["class"],
            row["dice_mean"],
            row["f1_mean"],
            row["slides"],
        )
    if overall.empty:
        logger.warning("no scores at all: the tables have headers only")
