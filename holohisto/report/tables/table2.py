"""Table 2: every model by structure (class), and the mean over the structures."""

import math
from typing import Any

import pandas as pd

from holohisto.report.results import Run, rows_of
from holohisto.report.tables.printed import NOTHING, Cell, Head, PrintedTable, TableLine
from holohisto.report.tables.table1 import FLOOR, pretrained_of
from holohisto.report.words import number_of, percent
from holohisto.statistics.groups import ALL

MEAN = "mean"
MEASURES = {"dice": "dice_mean", "f1": "f1_mean"}
SLIDES = "slides"


def numbers(run: Run) -> pd.DataFrame:
    """Slide Dice and object F1 over all groups, one row per model: table2.tsv.

    The mean is over all structures that a slide shows; it is NaN for a model without a score of one
    of them.
    """
    groups = rows_of(run.table("groups"), group=ALL)
    if "slides_showing" in groups:
        groups = groups[groups["slides_showing"] > 0]
    names = [name for name in run.classes if len(rows_of(groups, **{"class": name}))]
    rows = []
    for model in run.models:
        own = rows_of(groups, model=model)
        if own.empty:
            continue
        row: dict[str, Any] = {"model": model, "pretrained": pretrained_of(own)}
        for measure, column in MEASURES.items():
            values = [_value(own, name, column) for name in names]
            row |= {f"{measure} {name}": value for name, value in zip(names, values, strict=True)}
            row[f"{measure} {MEAN}"] = sum(values) / len(values)
        row |= {f"{SLIDES} {name}": _value(own, name, SLIDES) for name in names}
        rows.append(row)
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=["model", "pretrained"])


def table2(run: Run, table: pd.DataFrame) -> PrintedTable | None:
    """The table as text; None for a single structure."""
    names = [key.removeprefix("dice ") for key in table.columns if key.startswith("dice ")]
    if len(names) < 3:  # two structures and their mean
        return None
    usual = {name: _usual(run, table, name) for name in names if name != MEAN}
    whole = {name: table[f"{SLIDES} {name}"] == usual[name] for name in usual}
    whole[MEAN] = pd.concat(whole, axis=1).all(axis=1)
    best = {name: table.loc[whole[name], f"dice {name}"].max() for name in names}
    lines = []
    for i, row in enumerate(table.to_dict("records")):
        cells = []
        for name in names:
            dice, f1 = row[f"dice {name}"], row[f"f1 {name}"]
            equal = bool(whole[name].iloc[i])
            remark = "" if equal or name == MEAN else number_of(row[f"{SLIDES} {name}"])
            cells.append(
                NOTHING
                if math.isnan(dice)
                else Cell(percent(dice), f"F1 {percent(f1)}", remark, equal and dice >= best[name])
            )
        floor = run.models[row["model"]].get("kind") == "colour_threshold"
        small = FLOOR if floor else row["pretrained"]
        lines.append(TableLine(row["model"], small, row["model"] == run.reference, cells))
    heads = [
        Head(name, number_of(usual[name]) if name in usual else "", first=name == MEAN)
        for name in names
    ]
    return PrintedTable("Model", heads, lines, [("Slide Dice, %", len(names))])


def _usual(run: Run, table: pd.DataFrame, name: str) -> float:
    """Number of slides scored for a structure, of the reference model or else the largest."""
    own = rows_of(table, model=run.reference)
    return float((own if len(own) else table)[f"{SLIDES} {name}"].max())


def _value(own: pd.DataFrame, name: str, column: str) -> float:
    row = rows_of(own, **{"class": name})
    return float(row[column].iloc[0]) if len(row) and column in row else math.nan
