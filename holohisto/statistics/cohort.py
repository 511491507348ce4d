"""All tables of a cohort, from the metrics files of its slides."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from holohisto.config.sections import CohortOptions
from holohisto.errors import HolohistoError
from holohisto.runtime.results import Results
from holohisto.runtime.seal import read_sealed_json
from holohisto.sheet.cells import Row
from holohisto.statistics.comparisons import comparison_table
from holohisto.statistics.distributions import POOLED, distribution_table
from holohisto.statistics.groups import ALL, group_table
from holohisto.statistics.rows import OBJECTS, SLIDES, object_rows, score_rows

logger = logging.getLogger(__name__)


def cohort_tables(
    slides: pd.DataFrame, objects: pd.DataFrame, reference: str, options: CohortOptions
) -> dict[str, pd.DataFrame]:
    """The five tables by the names of their files.

    Args:
        slides: the columns SLIDES, one row per model, slide and class.
        objects: the columns OBJECTS, one row per predicted object.
        reference: model that the others are compared with.
        options: of the comparisons.
    """
    return {
        "slides": slides,
        "groups": group_table(slides, options.confidence),
        "comparisons": comparison_table(slides, reference, options.alpha, options.confidence),
        "objects": objects,
        "distributions": distribution_table(objects, slides),
    }


def read_scores(
    models: Sequence[str], rows: Sequence[Row], results: Results
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """slides.tsv and objects.tsv from all metrics files; a missing file gives a warning.

    Args:
        models: in the order of the tables.
        rows: slides to look for, in the order of the tables.
        results: of the run.

    Raises:
        HolohistoError: a metrics file is broken.
    """
    slides: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    for model in models:
        for row in rows:
            path = results.metrics(model, row.slide)
            if not path.exists():
                logger.warning("%s: no scores of model %s (%s)", row.slide, model, path)
                continue
            record = _read_metrics(path, model)
            slides += score_rows(record, row)
            objects += object_rows(record, row)
    return (
        pd.DataFrame(slides, columns=list(SLIDES)),
        pd.DataFrame(objects, columns=list(OBJECTS)),
    )


def _read_metrics(path: Path, model: str) -> dict[str, Any]:
    try:
        record = read_sealed_json(path)
        return {**record, "model": model, "classes": dict(record["classes"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HolohistoError(
            path,
            f"is no metrics file ({type(error).__name__}: {error})",
            advice="delete it and run again",
        ) from error


def overall_lines(groups: pd.DataFrame) -> Iterator[str]:
    """One sentence per model and class with its mean over the groups, from groups.tsv."""
    for row in groups[groups["group"] == ALL].to_dict("records"):
        if not row["slides_showing"]:
            continue
        yield (
            f"{row['model']}, {row['class']}: mean slide Dice of the groups {row['dice_mean']:.4f},"
            f" object F1 {row['f1_mean']:.4f} ({row['slides']} slides)"
        )


def absent_lines(groups: pd.DataFrame) -> Iterator[str]:
    """One sentence per class and group of which no slide shows the class, from groups.tsv."""
    absent = groups[(groups["slides_showing"] == 0) & (groups["group"] != POOLED)]
    for name, rows in absent.groupby("class", sort=False):
        names = list(rows["group"].unique())
        where = "" if ALL in names else " of group " + ", ".join(names)
        yield f"{name}: no scored slide{where} shows this class, so it has no score there"
