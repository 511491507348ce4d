"""Which slides to correct next: slides without annotation, the least sure one first."""

import math

from holohisto.report.results import Run
from holohisto.report.tables.printed import Cell, Head, PrintedTable, TableLine
from holohisto.report.words import percent

SHOWN = 20
"""Largest number of slides in the table of the report."""


def correct_next_table(run: Run) -> PrintedTable | None:
    """The table as text; None if no slide was ranked."""
    ranked = run.table("correct_next").head(SHOWN)
    if ranked.empty or "uncertainty" not in ranked:
        return None
    heads = [Head(text) for text in ("Uncertainty, %", "Probabilities, %", "Tiles disagree, %")]
    heads.append(Head("Mean probability, %"))
    lines = []
    for row in ranked.to_dict("records"):
        nothing = math.isnan(row["uncertainty"])
        cells = [Cell(percent(row["uncertainty"]), remark="nothing found" if nothing else "")]
        others = ("probability_uncertainty", "seam_disagreement", "probability")
        cells += [Cell(percent(row[name])) for name in others]
        lines.append(TableLine(str(row["slide"]), str(row["group"]), False, cells))
    return PrintedTable("Slide", heads, lines)
