"""How sure a model must be of an object: what the validation slides say of `min_probability`."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from holohisto.report.results import Run, record
from holohisto.report.tables.wide import NOTHING, Cell, Head, Line, Wide
from holohisto.report.words import count, percent

LIMITS = tuple(round(0.05 * step, 2) for step in range(11, 20))
"""Tried; a limit in between would be learnt by heart from a few objects."""


@dataclass(frozen=True)
class Found:
    """Objects of one class on all validation slides."""

    probability: np.ndarray
    """Mean probability of each, (n,) float."""
    matched: np.ndarray
    """Whether it is one of the expert's, (n,) bool."""
    annotated: int
    """Number of the expert's."""

    def f1(self, limit: float = 0.0) -> float:
        """Object F1 over all slides together, without the objects below the limit."""
        kept = self.probability >= limit
        return 2 * int((self.matched & kept).sum()) / (int(kept.sum()) + self.annotated)

    def best(self) -> tuple[float, float] | None:
        """The lowest of the best limits and its F1; None where none does better."""
        scores = [self.f1(limit) for limit in LIMITS]
        place = int(np.argmax(scores))
        return (LIMITS[place], scores[place]) if scores[place] > self.f1() else None


def certainty_tables(run: Run) -> dict[str, Wide]:
    """Object F1 on validation slides, now and with a limit, by class; only of those drawn there."""
    lines: dict[str, list[Line]] = {}
    for model, options in run.models.items():
        if options.get("kind") == "masks":
            continue
        for name, found in _found(run, model).items():
            if found.annotated:
                line = Line(model, "", model == run.reference, _cells(found))
                lines.setdefault(name, []).append(line)
    heads = ("Drawn", "Found", "Object F1, %", "mask.min_probability", "Object F1 with it, %")
    return {
        name: Wide("Model", [Head(text) for text in heads], some) for name, some in lines.items()
    }


def _cells(found: Found) -> list[Cell]:
    best = found.best()
    told = [NOTHING, NOTHING] if best is None else [Cell(f"{best[0]:g}"), Cell(percent(best[1]))]
    counts = [Cell(count(found.annotated)), Cell(count(len(found.matched)))]
    return [*counts, Cell(percent(found.f1())), *told]


def _found(run: Run, model: str) -> dict[str, Found]:
    """The objects by class, on the validation slides on which the class is annotated."""
    items: dict[str, list[dict[str, Any]]] = {}
    annotated: dict[str, int] = {}
    for row in (row for row in run.kept if row.split == "val"):
        path = run.results / "models" / model / "metrics" / f"{row.slide}.json"
        for name, scores in (record(path).get("classes") or {}).items():
            if scores.get("annotated"):
                items.setdefault(name, []).extend(scores.get("object_table") or ())
                annotated[name] = annotated.get(name, 0) + (scores.get("objects_annotated") or 0)
    return {
        name: Found(
            np.array([float(item.get("probability") or 0) for item in some]),
            np.array([bool(item.get("matched")) for item in some], bool),
            annotated[name],
        )
        for name, some in items.items()
    }
