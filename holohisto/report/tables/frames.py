"""Score tables and comparisons, put into the words of the report."""

import math
from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup

from holohisto.report.pictures.figures import Dots, dot_plot, lower_end
from holohisto.report.results import Run, rows_of
from holohisto.report.tables import objects, table1, table2, table3
from holohisto.report.tables.certainty import certainty_tables
from holohisto.report.tables.trained import Trained
from holohisto.report.tables.wide import Cell, Wide
from holohisto.report.words import ABSENT, number_of, percent, probability
from holohisto.statistics.groups import ALL
from holohisto.statistics.paired import smallest_p

CHALLENGE = "Dice as the KPIs challenge scores it, %"
MEASURES = (
    ("Slide Dice, %", "dice_mean", "dice_sd"),
    ("Object F1, %", "f1_mean", "f1_sd"),
    ("Boundary F1, %", "boundary_f1_mean", "boundary_f1_sd"),
    (CHALLENGE, "kpis2024_mean", "kpis2024_sd"),
)


@dataclass(frozen=True)
class ModelLine:
    """Scores of a model, one cell a column."""

    model: str
    reference: bool
    floor: bool
    pretrained: str
    """What its training started from; empty: not known."""
    cells: list[Cell]


@dataclass(frozen=True)
class ScoreTable:
    """All scores of one class."""

    name: str
    columns: list[tuple[str, int]]
    """Group, mean of groups or all slides, and its number of slides (the reference model's, or the
    largest)."""
    blocks: list[tuple[str, list[ModelLine]]]
    """Measure and its lines."""
    plots: list[tuple[str, Markup]]
    """Group and its dot plot."""
    comparisons: list[dict[str, str]]
    table1: Wide | None = None
    table3: Wide | None = None
    objects: Wide | None = None
    sizes: Markup | None = None
    """Areas by group, drawn."""
    certainty: Wide | None = None
    """How sure a model must be of an object."""


def frames(run: Run, known: dict[str, Trained]) -> dict[str, pd.DataFrame]:
    """Tables 1 to 3 in numbers, by name; empty ones have their headings."""
    return {
        "table1": table1.numbers(run),
        "table2": table2.numbers(run),
        "table3": table3.numbers(run, known),
    }


def score_tables(run: Run, numbers: dict[str, pd.DataFrame]) -> list[ScoreTable]:
    """One per class that has scores; empty when there are none. `numbers` are those of frames."""
    groups, slides, tests = (run.table(name) for name in ("groups", "slides", "comparisons"))
    inits, sizes, certain = _inits(groups), dict(objects.size_plots(run)), certainty_tables(run)
    tables = []
    for name in run.classes:
        part = rows_of(groups, **{"class": name})
        if part.empty:
            continue
        columns = _columns(run, part)
        blocks = [
            (title, _lines(run, part, columns, mean, spread, inits))
            for title, mean, spread in MEASURES
            if mean in part and part[mean].notna().any()
        ]
        plots = _plots(run, rows_of(slides, **{"class": name}))
        rows = rows_of(tests, **{"class": name}).to_dict("records")
        sentences = [comparison(row, inits.get(row["model"], "")) for row in rows]
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
                certain.get(name),
            )
        )
    return tables


def _columns(run: Run, part: pd.DataFrame) -> list[tuple[str, int]]:
    reference = rows_of(part, model=run.reference)
    columns = []
    for group in table1.columns(run, part):
        counts = rows_of(reference, group=group)["slides"]
        counts = counts if len(counts) else rows_of(part, group=group)["slides"]
        columns.append((str(group), int(counts.max()) if len(counts) else 0))
    return columns


def _inits(groups: pd.DataFrame) -> dict[str, str]:
    """What each model's training started from, of those that say so."""
    if "pretrained" not in groups:
        return {}
    return {
        row["model"]: row["pretrained"]
        for row in groups.dropna(subset="pretrained").to_dict("records")
    }


def _lines(
    run: Run,
    part: pd.DataFrame,
    columns: list[tuple[str, int]],
    mean: str,
    spread: str | None,
    inits: dict[str, str],
) -> list[ModelLine]:
    best = {}
    for group, count in columns:
        own = rows_of(part, group=group)
        best[group] = own.loc[own["slides"] == count, mean].max()
    lines = []
    for model, options in run.models.items():
        own = rows_of(part, model=model)
        cells = []
        for group, count in columns:
            cells.append(_cell(rows_of(own, group=group), count, mean, spread, best[group]))
        floor = options.get("kind") == "colour_threshold"
        init = inits.get(model, "")
        lines.append(ModelLine(model, model == run.reference, floor, init, cells))
    return lines


def _cell(row: pd.DataFrame, count: int, mean: str, spread: str | None, best: float) -> Cell:
    if row.empty or math.isnan(row[mean].iloc[0]):
        return Cell(ABSENT)
    value, slides = float(row[mean].iloc[0]), int(row["slides"].iloc[0])
    deviation = float(row[spread].iloc[0]) if spread in row else float("nan")
    return Cell(
        percent(value),
        "" if math.isnan(deviation) else f"± {percent(deviation)}",
        "" if slides == count else number_of(slides),
        value >= best and slides == count,
    )


def _plots(run: Run, part: pd.DataFrame) -> list[tuple[str, Markup]]:
    if "dice_foreground" not in part or part["dice_foreground"].dropna().empty:
        return []
    part = part[part["dice_foreground"].notna()]
    low = lower_end(part["dice_foreground"].tolist())
    plots = []
    for group, members in part.groupby("group", sort=False):
        scores: dict[str, dict[str, float]] = {}
        for row in members.to_dict("records"):
            scores.setdefault(row["slide"], {})[row["model"]] = float(row["dice_foreground"])
        models = [model for model in run.models if any(model in one for one in scores.values())]
        label = f"Slide Dice in percent of group {group}, one row a model, one dot a slide"
        dots = Dots(models, scores, run.reference)
        plots.append((str(group), dot_plot(dots, low, label)))
    return plots


def comparison(row: dict, init: str = "") -> dict[str, str]:
    """A row of comparisons.tsv in the words of the report; `pretrained` is the model's."""
    reference, model = row["reference"], row["model"]
    where = "all groups" if row["scope"] == ALL else f"group {row['scope']}"
    shift, low, high = (100 * row[key] for key in ("shift", "shift_low", "shift_high"))
    interval = ABSENT if math.isnan(low) else f"{low:+.2f} to {high:+.2f}".replace("-", "−")
    effect = float(row.get("effect", math.nan))
    words = {
        "higher": f"{reference} scores higher than {model}",
        "lower": f"{reference} scores lower than {model}",
        "n too small": f"too few {row['level']} to tell",
    }.get(row["result"], "no difference shown")
    if row["result"] == "n too small":
        unequal = int(row["n"] - row["n_zero"])
        those = f"the {unequal} that are not equal" if row["n_zero"] else f"all {row['level']}"
        words += f": even if {those} agreed, p could not be below {smallest_p(unequal):.3g}"
    elif isinstance(row.get("note"), str) and row["note"]:
        words += f" ({row['note']})"
    return {
        "model": model,
        "pretrained": init,
        "where": where,
        "unit": row["level"],
        "overall": "yes" if row["scope"] == ALL else "",
        "pairs": f"{row['n']:.0f}",
        "shift": f"{shift:+.2f}".replace("-", "−"),
        "interval": interval,
        "effect": "" if math.isnan(effect) else f"effect {effect:+.2f}".replace("-", "−"),
        "p": probability(row["p_holm"]),
        "method": row["method"],
        "words": words,
        "result": row["result"].replace(" ", "-"),
    }
