"""What experts corrected in delivered outlines: objects kept, changed, added and deleted."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from holohisto.annotation.corrections import Comparison, Corrections, compare
from holohisto.annotation.delivered import DIGITS
from holohisto.errors import HolohistoError
from holohisto.report.results import Run, record
from holohisto.report.tables.printed import NOTHING, Cell, Head, PrintedTable, TableLine
from holohisto.report.words import count, percent
from holohisto.sheet.annotations import is_drawn
from holohisto.sheet.cells import Row

logger = logging.getLogger(__name__)
COLUMNS = (
    "slide",
    "split",
    "class",
    "model",
    "delivered",
    "kept",
    "changed",
    "added",
    "deleted",
    "area_before_um2",
    "area_after_um2",
    "iou_mean",
)
COUNTED = ("delivered", "kept", "changed", "added", "deleted")


@dataclass(frozen=True)
class CorrectedSlide:
    """A slide whose annotation is a corrected file."""

    row: Row
    comparison: Comparison
    pixel_um2: float
    """Area of a level-0 pixel, µm²; nan if unknown."""
    other_slide: bool
    """Whether the objects were delivered for another slide."""


def corrected_slides(run: Run) -> list[CorrectedSlide]:
    """Compare the annotations that correct delivered outlines; broken files are left out."""
    found = []
    for row in run.kept:
        path = row.annotation
        if path is None or not is_drawn(path):
            continue
        classes = [name for name in run.classes if row.annotated is None or name in row.annotated]
        try:
            comparison = compare(path, classes, row.corrected_from)
        except HolohistoError as error:
            logger.warning("%s: corrections not listed (%s)", row.slide, error)
            continue
        if comparison is not None:
            facts = record(run.results.record(row.slide))
            pixel = float(facts.get("mpp") or math.nan) * float(facts.get("mpp_y") or math.nan)
            own = str(facts.get("fingerprint") or "")[:DIGITS]
            other = bool(own and comparison.slides and own not in comparison.slides)
            found.append(CorrectedSlide(row, comparison, pixel, other))
    return found


def numbers(slides: Sequence[CorrectedSlide]) -> pd.DataFrame:
    """The table as numbers, one row for each corrected slide and class."""
    rows = []
    for slide in slides:
        for name, found in slide.comparison.classes.items():
            counts = {column: getattr(found, column) for column in COUNTED}
            rows.append(
                {
                    "slide": slide.row.slide,
                    "split": slide.row.split,
                    "class": name,
                    "model": ", ".join(slide.comparison.models),
                    **counts,
                    "area_before_um2": round(found.area_before * slide.pixel_um2, 3),
                    "area_after_um2": round(found.area_after * slide.pixel_um2, 3),
                    "iou_mean": _mean(found.overlaps),
                }
            )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def corrections_table(slides: Sequence[CorrectedSlide]) -> PrintedTable | None:
    """The table as text; None if no annotation is a corrected file."""
    if not slides:
        return None
    heads = [Head(text) for text in ("Delivered", "Kept", "Changed", "Added", "Deleted")]
    heads += [Head("Area of the changed"), Head("Overlap of the changed, %")]
    lines = [
        TableLine(slide.row.slide, f"{name}, {slide.row.split}", False, _cells(found))
        for slide in slides
        for name, found in slide.comparison.classes.items()
    ]
    notes = [
        f"The outlines in the annotation of {slide.row.slide} were delivered for another slide."
        for slide in slides
        if slide.other_slide
    ]
    return PrintedTable("Slide", heads, lines, notes=notes)


def _cells(found: Corrections) -> list[Cell]:
    cells = [Cell(count(getattr(found, column))) for column in COUNTED]
    growth = found.area_after / found.area_before - 1 if found.area_before else math.nan
    area = NOTHING if math.isnan(growth) else Cell(f"{100 * growth:+.1f} %".replace("-", "−"))
    return [*cells, area, Cell(percent(_mean(found.overlaps)))]


def _mean(values: list[float]) -> float:
    return round(sum(values) / len(values), 6) if values else math.nan
