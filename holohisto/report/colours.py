"""Slides whose colours lie outside what training saw."""

from holohisto.foreground.unlike import colours_in, unlike
from holohisto.report.results import Run


def unlike_training(run: Run) -> dict[str, str]:
    """Slides that are coloured unlike every training slide, with a sentence on each."""
    colours = colours_in({row.slide: run.results.foreground(row.slide) for row in run.kept})
    return unlike(colours, [row.slide for row in run.kept if row.split == "train"])
