"""What the foreground maps of a run state of its slides."""

from holohisto.foreground.map import TissueFacts
from holohisto.foreground.notes import facts_in, unlike_training
from holohisto.report.results import Run


def tissue_facts(run: Run) -> dict[str, TissueFacts]:
    """Colour and ink of every slide with a foreground map."""
    return facts_in({row.slide: run.results.foreground(row.slide) for row in run.kept})


def unlike_slides(run: Run, facts: dict[str, TissueFacts]) -> dict[str, str]:
    """Slides that are coloured unlike every training slide, with a sentence on each."""
    return unlike_training(facts, [row.slide for row in run.kept if row.split == "train"])
