"""All score tables of a class, as text and drawings for the template."""

import math
from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup

from holohisto.report.pictures.figures import Dots, dot_plot, lower_end
from holohisto.report.results import Run, rows_of
from holohisto.report.tables import objects, table1, table2, table3, token_value
from holohisto.report.tables.certainty import certainty_tables
from holohisto.report.tables.comparisons import comparison
from holohisto.report.tables.printed import Cell, PrintedTable
from holohisto.report.tables.trained import Trained
from holohisto.report.words import ABSENT, number_of, percent

CHALLENGE = "Dice as the KPIs challenge scores it, %"
MEASURES = (
    ("Slide Dice, %", "dice_mean", "dice_sd"),
    ("Object F1, %", "f1_mean", "f1_sd"),
    ("Boundary F1, %", "boundary_f1_mean", "boundary_f1_sd"),
    (CHALLENGE, "kpis2024_mean", "kpis2024_sd"),
)


@dataclass(frozen=True)
class ModelLine:
    """Scores of a model, one cell per column."""

    model: str
    reference: bool
    floor: bool
    pretrained: str
    """How its training started; empty if not known."""
    cells: list[Cell]


@dataclass(frozen=True)
class ScoreTable:
    """All scores of one class."""

    name: str
    columns: list[tuple[str, int]]
    """Group, `All` or `pooled`, and its number of slides: of the reference, or else the largest."""
    blocks: list[tuple[str, list[ModelLine]]]
    """Measure and its lines."""
    plots: list[tuple[str, Markup]]
    """Group and its dot plot."""
    comparisons: list[dict[str, str]]
    table1: PrintedTable | None = None
    table3: PrintedTable | None = None
    objects: PrintedTable | None = None
    sizes: Markup | None = None
    """Box plot of the areas by group."""
    certainty: PrintedTable | None = None
    """The minimum probability of an object."""


def paper_tables(run: Run, known: dict[str, Trained]) -> dict[str, pd.DataFrame]:
    """Tables 1 to 3 and what the tokens add, as numbers, by the names of their files.

    Empty ones have a header only.
    """
    return {
        "table1": table1.numbers(run, known),
        "table2": table2.numbers(run),
        "table3": table3.numbers(run, known),
        "token_value": token_value.numbers(run),
    }


def score_tables(run: Run, numbers: dict[str, pd.DataFrame]) -> list[ScoreTable]:
    """One table per class with scores; `numbers` as from `paper_tables`."""
    groups, slides, tests = (run.table(name) for name in ("groups", "slides", "comparisons"))
    pretrained, sizes = _pretrained(groups), dict(objects.size_plots(run))
    certainty = certainty_tables(run)
    tables = []
    for name in run.classes:
        means = rows_of(groups, **{"class": name})
        if means.empty:
            continue
        columns = _columns(run, means)
        blocks = [
            (title, _lines(run, means, columns, (mean, spread), pretrained))
            for title, mean, spread in MEASURES
            if mean in means and means[mean].notna().any()
        ]
        plots = _plots(run, rows_of(slides, **{"class": name}))
        rows = rows_of(tests, **{"class": name}).to_dict("records")
        sentences = [comparison(row, pretrained.get(row["model"], "")) for row in rows]
        tables.append(
            ScoreTable(
                name,
                columns,
                blocks,
                plots,
                sentences,
                table1.table1(run, numbers["table1"], name),
                table3.table3(run, numbers["table3"], name),
                objects.object_table(run, name),
                sizes.get(name),
                certainty.get(name),
            )
        )
    return tables


def _columns(run: Run, means: pd.DataFrame) -> list[tuple[str, int]]:
    reference = rows_of(means, model=run.reference)
    columns = []
    for group in table1.columns(run, means):
        counts = rows_of(reference, group=group)["slides"]
        counts = counts if len(counts) else rows_of(means, group=group)["slides"]
        columns.append((str(group), int(counts.max()) if len(counts) else 0))
    return columns


def _pretrained(groups: pd.DataFrame) -> dict[str, str]:
    """How the training of each model started, if known."""
    if "pretrained" not in groups:
        return {}
    return {
        row["model"]: row["pretrained"]
        for row in groups.dropna(subset="pretrained").to_dict("records")
    }


def _lines(
    run: Run,
    means: pd.DataFrame,
    columns: list[tuple[str, int]],
    measure: tuple[str, str],
    pretrained: dict[str, str],
) -> list[ModelLine]:
    """One line per model; `measure`: columns of its mean and its standard deviation."""
    best = {}
    for group, count in columns:
        own = rows_of(means, group=group)
        best[group] = own.loc[own["slides"] == count, measure[0]].max()
    lines = []
    for model, options in run.models.items():
        own = rows_of(means, model=model)
        cells = []
        for group, count in columns:
            cells.append(_cell(rows_of(own, group=group), count, measure, best[group]))
        floor = options.get("kind") == "colour_threshold"
        start = pretrained.get(model, "")
        lines.append(ModelLine(model, model == run.reference, floor, start, cells))
    return lines


def _cell(row: pd.DataFrame, count: int, measure: tuple[str, str], best: float) -> Cell:
    mean, spread = measure
    if row.empty or math.isnan(row[mean].iloc[0]):
        return Cell(ABSENT)
    value, slides = float(row[mean].iloc[0]), int(row["slides"].iloc[0])
    deviation = float(row[spread].iloc[0]) if spread in row else float("nan")
    spreads = ["" if math.isnan(deviation) else f"± {percent(deviation)}"]
    if mean == "dice_mean" and "dice_low" in row:
        spreads.append(" to ".join(percent(row[end].iloc[0]) for end in ("dice_low", "dice_high")))
    return Cell(
        percent(value),
        "; ".join(filter(None, spreads)),
        "" if slides == count else number_of(slides),
        value >= best and slides == count,
    )


def _plots(run: Run, slides: pd.DataFrame) -> list[tuple[str, Markup]]:
    if "dice_foreground" not in slides or slides["dice_foreground"].dropna().empty:
        return []
    slides = slides[slides["dice_foreground"].notna()]
    low = lower_end(slides["dice_foreground"].tolist())
    plots = []
    for group, members in slides.groupby("group", sort=False):
        scores: dict[str, dict[str, float]] = {}
        for row in members.to_dict("records"):
            scores.setdefault(row["slide"], {})[row["model"]] = float(row["dice_foreground"])
        models = [model for model in run.models if any(model in dice for dice in scores.values())]
        label = f"Slide Dice in percent of group {group}, one row per model, one dot per slide"
        dots = Dots(models, scores, run.reference)
        plots.append((str(group), dot_plot(dots, low, label)))
    return plots
