"""The limit `mask.min_probability` that gives the best object F1 on the validation slides."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from holohisto.report.results import Run, record
from holohisto.report.tables.printed import NOTHING, Cell, Head, PrintedTable, TableLine
from holohisto.report.words import count, percent

LIMITS = tuple(round(0.05 * step, 2) for step in range(11, 20))
"""Limits to try; finer steps would overfit to a few objects."""


@dataclass(frozen=True)
class ValidationObjects:
    """Objects of one class on all validation slides."""

    probability: np.ndarray
    """Mean probability of each predicted object, (n,) float."""
    matched: np.ndarray
    """Whether each matches an annotated object, (n,) bool."""
    annotated: int
    """Number of annotated objects."""

    def f1(self, limit: float = 0.0) -> float:
        """Object F1 over all slides together, without the objects below the limit."""
        kept = self.probability >= limit
        return 2 * int((self.matched & kept).sum()) / (int(kept.sum()) + self.annotated)

    def best(self) -> tuple[float, float] | None:
        """The best limit (the lowest of equal ones) and its F1; None if none improves F1."""
        scores = [self.f1(limit) for limit in LIMITS]
        best = int(np.argmax(scores))
        return (LIMITS[best], scores[best]) if scores[best] > self.f1() else None


def certainty_tables(run: Run) -> dict[str, PrintedTable]:
    """Object F1 on validation slides without and with the limit, by class annotated there."""
    lines: dict[str, list[TableLine]] = {}
    for model, options in run.models.items():
        if options.get("kind") == "masks":
            continue
        for name, objects in _objects(run, model).items():
            if objects.annotated:
                line = TableLine(model, "", model == run.reference, _cells(objects))
                lines.setdefault(name, []).append(line)
    heads = ("Annotated", "Found", "Object F1, %", "mask.min_probability", "F1 with this limit, %")
    return {
        name: PrintedTable("Model", [Head(text) for text in heads], own)
        for name, own in lines.items()
    }


def _cells(objects: ValidationObjects) -> list[Cell]:
    best = objects.best()
    limit = [NOTHING, NOTHING] if best is None else [Cell(f"{best[0]:g}"), Cell(percent(best[1]))]
    counts = [Cell(count(objects.annotated)), Cell(count(len(objects.matched)))]
    return [*counts, Cell(percent(objects.f1())), *limit]


def _objects(run: Run, model: str) -> dict[str, ValidationObjects]:
    """The objects by class, on the validation slides on which the class is annotated."""
    items: dict[str, list[dict[str, Any]]] = {}
    annotated: dict[str, int] = {}
    for row in (row for row in run.kept if row.split == "val"):
        path = run.results.metrics(model, row.slide)
        for name, scores in (record(path).get("classes") or {}).items():
            if scores.get("annotated"):
                items.setdefault(name, []).extend(scores.get("object_table") or ())
                annotated[name] = annotated.get(name, 0) + (scores.get("objects_annotated") or 0)
    return {
        name: ValidationObjects(
            np.array([float(item.get("probability") or 0) for item in own]),
            np.array([bool(item.get("matched")) for item in own], bool),
            annotated[name],
        )
        for name, own in items.items()
    }
