"""What the tokens add: Dice of each model with its tokens as they are, left out and shuffled."""

import pandas as pd

from holohisto.report.results import Run
from holohisto.report.tables.printed import Cell, Head, PrintedTable, TableLine
from holohisto.report.words import count, percent
from holohisto.statistics.files import read_table
from holohisto.tokens.conditions import AS_THEY_ARE, LEFT_OUT, NAMES

LITTLE = 0.05
"""Loss of Dice without the tokens below which they are said to add little."""
ALTERED = tuple(name for name in NAMES if name != AS_THEY_ARE)
COLUMNS = (
    "model",
    "slides",
    "tiles",
    *(f"dice {name}" for name in NAMES),
    *(f"loss {name}" for name in ALTERED),
)


def numbers(run: Run) -> pd.DataFrame:
    """Means over slides and classes, one row per model that reads token maps: token_value.tsv.

    A loss is the Dice with the tokens as they are minus that with them altered. Slides without a
    score in every condition are left out.
    """
    rows = []
    for model in [] if run.online else run.over_tokens:
        table = read_table(run.results.token_value(model))
        if not {"slide", "condition", "tiles", "dice mean"} <= set(table.columns):
            continue
        table = table.drop_duplicates(["slide", "condition"])
        dice = table.pivot(index="slide", columns="condition", values="dice mean")
        dice = dice.reindex(columns=list(NAMES)).dropna()
        if dice.empty:
            continue
        tiles = table[table["condition"] == AS_THEY_ARE].set_index("slide")["tiles"]
        means = dice.mean()
        row = {"model": model, "slides": len(dice), "tiles": tiles[dice.index].sum()}
        row |= {f"dice {name}": means[name] for name in NAMES}
        row |= {f"loss {name}": means[AS_THEY_ARE] - means[name] for name in ALTERED}
        rows.append(row)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def token_value_table(run: Run, table: pd.DataFrame) -> PrintedTable | None:
    """The table as text, with a remark on models to which the tokens add little; None if empty."""
    if table.empty:
        return None
    lines = [
        TableLine(
            row["model"],
            "",
            row["model"] == run.reference,
            [
                *(Cell(percent(row[f"dice {name}"])) for name in NAMES),
                *(_loss(row[f"loss {name}"]) for name in ALTERED),
                Cell(count(row["slides"])),
                Cell(count(row["tiles"])),
            ],
        )
        for row in table.to_dict("records")
    ]
    heads = [Head(name, first=name == AS_THEY_ARE) for name in NAMES]
    heads += [Head(name, first=name == ALTERED[0]) for name in ALTERED]
    heads += [Head("Slides", first=True), Head("Tiles")]
    bands = [("Dice, %", len(NAMES)), ("Loss, points", len(ALTERED)), ("Measured on", 2)]
    return PrintedTable("Model", heads, lines, bands, _remarks(table))


def _loss(value: float) -> Cell:
    """A loss in points of Dice, red if it is too small to show that the tokens matter."""
    text = f"{100 * value:.2f}".replace("-", "\N{MINUS SIGN}")
    return Cell(text, kind="lower" if value < LITTLE else "")


def _remarks(table: pd.DataFrame) -> list[str]:
    remarks = []
    for row in table.to_dict("records"):
        loss = row[f"loss {LEFT_OUT}"]
        if loss >= LITTLE:
            continue
        change = "rises" if loss < 0 else "falls only"
        remarks.append(
            f"{row['model']}: the tokens add little: with all of them left out, the mean Dice"
            f" {change} by {abs(100 * loss):.2f} points."
        )
    return remarks
