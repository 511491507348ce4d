"""Number and size of the objects found, by group."""

import math
from typing import Any

import pandas as pd
from markupsafe import Markup

from holohisto.report.pictures.figures import Box, box_plot
from holohisto.report.results import Run, rows_of
from holohisto.report.tables.printed import Cell, Head, PrintedTable, TableLine
from holohisto.report.words import ABSENT, area, count, number_of
from holohisto.statistics.distributions import POOLED, QUANTILES

HEADS = (
    "Slides",
    "Objects",
    "Per slide",
    "Annotated per slide",
    "Median area",
    "Middle half",
    "Probability",
    "Matched",
)
ANNOTATED = HEADS.index("Annotated per slide")


def size_plots(run: Run) -> list[tuple[str, Markup]]:
    """Class and the areas of its objects by group, as the reference model found them."""
    table = rows_of(run.table("distributions"), model=run.reference)
    plots = []
    for name in run.classes:
        boxes = []
        for row in rows_of(table, **{"class": name}).to_dict("records"):
            values = [float(row[f"area_p{percent}_um2"]) for percent in QUANTILES]
            if row["group"] != POOLED and row["objects"] > 0 and min(values) > 0:
                boxes.append(Box(str(row["group"]), int(row["objects"]), values))
        if boxes:
            label = f"Areas of {name} by group, square micrometres, logarithmic"
            plots.append((name, box_plot(boxes, label)))
    return plots


def object_table(run: Run, name: str) -> PrintedTable | None:
    """Numbers and areas of one class by group, as the reference model found them."""
    rows = rows_of(run.table("distributions"), model=run.reference, **{"class": name})
    if rows.empty:
        return None
    lines = [
        TableLine(
            "all groups" if row["group"] == POOLED else str(row["group"]), "", False, _cells(row)
        )
        for row in rows.to_dict("records")
    ]
    return PrintedTable("Group", [Head(text) for text in HEADS], lines)


def _cells(row: dict[Any, Any]) -> list[Cell]:
    low, median, high = (area(row[f"area_p{percent}_um2"]) for percent in (25, 50, 75))
    between = ABSENT if ABSENT in (low, high) else f"{low} – {high}"
    probability, matched = row["probability_median"], row["matched_share"]
    texts = [
        count(row["slides"]),
        count(row["objects"]),
        _rate(row["objects_per_slide"]),
        _rate(row["annotated_per_slide"]),
        median,
        between,
        ABSENT if math.isnan(probability) else f"{probability:.2f}",
        ABSENT if math.isnan(matched) else f"{100 * matched:.0f} %",
    ]
    cells = [Cell(text) for text in texts]
    if 0 < row.get("slides_annotated", 0) < row["slides"]:
        cells[ANNOTATED] = _annotated(row)
    return cells


def _annotated(row: dict[Any, Any]) -> Cell:
    """The expert's number where only some slides are annotated, and the number found on these."""
    found = f"found there: {_rate(row['found_per_annotated'])}"
    return Cell(_rate(row["annotated_per_slide"]), found, number_of(row["slides_annotated"]))


def _rate(value: float) -> str:
    return ABSENT if pd.isna(value) else f"{value:.1f}"
