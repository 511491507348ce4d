"""Table 1: tile Dice of every model by group, slide Dice, and the tests."""

import math
from typing import Any

import pandas as pd

from holohisto.config.sections import CohortOptions
from holohisto.report.results import Run, rows_of
from holohisto.report.tables.printed import NOTHING, Cell, Head, PrintedTable, TableLine
from holohisto.report.tables.trained import Trained
from holohisto.report.words import count, large, number_of, percent, probability
from holohisto.statistics.distributions import POOLED
from holohisto.statistics.groups import ALL
from holohisto.statistics.rows import group_of

TILE, SLIDE = "dice_over_tiles", "dice_mean"
UNITS = ("slides", "subjects")
FLOOR = "colour threshold"
"""Small print of a model that is a lower bound instead of a competitor."""
KEYS = ("class", "model", "pretrained", "parameters")
TESTED = ("n", "n_zero", "shift", "p", "p_holm", "p_least_holm", "effect", "result")


def numbers(run: Run, known: dict[str, Trained]) -> pd.DataFrame:
    """The table as shares and p values, one row per class and model: table1.tsv.

    `known` as from `trained`; a model that is not in it has no number of parameters.
    """
    groups, tests = run.table("groups"), run.table("comparisons")
    rows = []
    for name in run.classes:
        means = rows_of(groups, **{"class": name})
        shown = columns(run, means)
        for model in run.models:
            own = rows_of(means, model=model)
            if own.empty:
                continue
            row: dict[str, Any] = {"class": name, "model": model, "pretrained": pretrained_of(own)}
            row["parameters"] = known[model].parameters if model in known else math.nan
            row["slides"] = _value(own, POOLED, "slides")
            for title, measure in (("tile_dice", TILE), ("slide_dice", SLIDE)):
                row |= {f"{title} {group}": _value(own, group, measure) for group in shown}
            overall = rows_of(tests, **{"class": name, "model": model, "scope": ALL})
            rows.append(row | _tested(overall))
    table = pd.DataFrame(rows)
    return table if len(table) else pd.DataFrame(columns=list(KEYS))


def _tested(tests: pd.DataFrame) -> dict[str, Any]:
    """Results of the tests by slides and by subjects; None if absent."""
    cells = {}
    for unit in UNITS:
        rows = rows_of(tests, level=unit)
        for key in TESTED:
            known = not rows.empty and key in rows
            cells[f"{key} {unit}"] = rows[key].iloc[0] if known else None
    return cells


def columns(run: Run, means: pd.DataFrame) -> list[str]:
    """Groups in the sheet's order, then `All` and `pooled`; `means` are rows of groups.tsv."""
    scored = set(means.get("group", ()))
    groups = [g for g in dict.fromkeys(map(group_of, run.rows.values())) if g in scored]
    return [*groups, ALL, POOLED]


def table1(run: Run, table: pd.DataFrame, name: str) -> PrintedTable | None:
    """The table of one class as text; None without scores."""
    rows = rows_of(table, **{"class": name})
    if rows.empty:
        return None
    means = rows_of(run.table("groups"), **{"class": name})
    shown = columns(run, means)
    wanted = [f"tile_dice {group}" for group in shown]
    wanted += [f"slide_dice {group}" for group in (ALL, POOLED)]
    own = rows_of(rows, model=run.reference)["slides"]
    usual = (own if len(own) else rows["slides"]).max()
    best = {key: rows.loc[rows["slides"] == usual, key].max() for key in wanted}
    compared = len(rows) > 1
    lines = []
    for row in rows.to_dict("records"):
        reference = row["model"] == run.reference
        cells = [Cell(large(row["parameters"]))]
        cells += [
            NOTHING
            if math.isnan(row[key])
            else Cell(percent(row[key]), best=row["slides"] == usual and row[key] >= best[key])
            for key in wanted
        ]
        if compared:
            cells += [_verdict(row, unit, reference, alpha_of(run)) for unit in UNITS]
        lines.append(TableLine(row["model"], _small(run, row, usual), reference, cells))
    return PrintedTable(
        "Model",
        [
            Head("Parameters"),
            *(Head(_title(group), first=group in (shown[0], ALL)) for group in shown),
            Head(_title(ALL), first=True),
            Head(_title(POOLED)),
            *(Head(f"by {unit}", words=True, first=unit == UNITS[0]) for unit in UNITS if compared),
        ],
        lines,
        [("", 1), ("Tile Dice, %", len(shown)), ("Slide Dice, %", 2)]
        + ([(f"Does {run.reference} differ?", 2)] if compared else []),
        _empty(run, means) + _not_shown(means),
    )


def pretrained_of(own: pd.DataFrame) -> str:
    """How a model's training started: `scratch` or `pretrained: ...`; empty if not known."""
    known = own["pretrained"].dropna() if "pretrained" in own else own.iloc[:0]
    return str(known.iloc[0]) if len(known) else ""


def _small(run: Run, row: dict[Any, Any], usual: float) -> str:
    floor = run.models[row["model"]].get("kind") == "colour_threshold"
    number = "" if row["slides"] == usual else number_of(row["slides"])
    return "; ".join(filter(None, (FLOOR if floor else row["pretrained"], number)))


def _title(group: str) -> str:
    return "all slides" if group == POOLED else group


def alpha_of(run: Run) -> float:
    """Significance level of the tests."""
    return (run.parameters.get("cohort") or {}).get("alpha", CohortOptions().alpha)


def confidence_of(run: Run) -> float:
    """Confidence level of the intervals."""
    return (run.parameters.get("cohort") or {}).get("confidence", CohortOptions().confidence)


def _value(own: pd.DataFrame, group: str, measure: str) -> float:
    row = rows_of(own, group=group)
    return float(row[measure].iloc[0]) if len(row) and measure in row else math.nan


def _verdict(row: dict[Any, Any], unit: str, reference: bool, alpha: float) -> Cell:
    """The result of a test in two words, and its p value."""
    if reference:
        return Cell("reference")
    result, p = row.get(f"result {unit}"), row.get(f"p_holm {unit}")
    if not isinstance(result, str) or not isinstance(p, int | float):
        return NOTHING
    few = result not in ("higher", "lower") and row[f"p_least_holm {unit}"] >= alpha
    if few or result == "n too small":
        equal = row[f"n_zero {unit}"]
        return Cell(
            f"too few {unit}",
            number_of(row[f"n {unit}"]) + (f", {equal:.0f} equal" if equal else ""),
        )
    p_value = f"p {'' if p < 0.0001 else '= '}{probability(p)}"
    words = {"higher": "yes, higher", "lower": "yes, lower"}.get(result, f"not shown at {alpha:g}")
    return Cell(words, p_value, kind=result if result in ("higher", "lower") else "")


def _empty(run: Run, means: pd.DataFrame) -> list[str]:
    """A note on the tiles and slides that score 1 because annotation and mask are empty."""
    row = rows_of(means, model=run.reference, group=POOLED)
    if row.empty or not {"tiles", "tiles_empty", "slides", "slides_empty"} <= set(row.columns):
        return []
    tiles, slides = (
        f"{count(row[f'{unit}_empty'].iloc[0])} of {count(row[unit].iloc[0])} {unit}"
        for unit in ("tiles", "slides")
    )
    return [
        f"With {run.reference}, {tiles} and {slides} have no annotation and no prediction; each of"
        " them counts as 100 %."
    ]


def _not_shown(means: pd.DataFrame) -> list[str]:
    """A note on the groups of which no slide shows the class; `means` are rows of groups.tsv."""
    if "slides_showing" not in means:
        return []
    absent = list(means.loc[means["slides_showing"] == 0, "group"].unique())
    if ALL in absent:
        return ["No scored slide shows this class, so it has no score."]
    if not absent:
        return []
    return [
        f"No slide of {', '.join(absent)} shows this class: no score is given there, and “All” is"
        " the mean of the other groups."
    ]
