"""How sure a model must be of an object: what the validation slides say of `min_probability`."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from holohisto.report.gather import Run, record
from holohisto.report.wide import NOTHING, Cell, Head, Line, Wide
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


def certainty_table(run: Run, name: str) -> Wide | None:
    """Object F1 of a class on validation slides, now and with a limit; None without such slides."""
    lines = []
    for model, options in run.models.items():
        found = None if options.get("kind") == "masks" else _found(run, model, name)
        if found is not None and found.annotated:
            lines.append(Line(model, "", model == run.reference, _cells(found)))
    heads = ("Drawn", "Found", "Object F1, %", "mask.min_probability", "Object F1 with it, %")
    return Wide("Model", [Head(text) for text in heads], lines) if lines else None


def _cells(found: Found) -> list[Cell]:
    best = found.best()
    told = [NOTHING, NOTHING] if best is None else [Cell(f"{best[0]:g}"), Cell(percent(best[1]))]
    counts = [Cell(count(found.annotated)), Cell(count(len(found.matched)))]
    return [*counts, Cell(percent(found.f1())), *told]


def _found(run: Run, model: str, name: str) -> Found | None:
    """The objects on validation slides on which the class is annotated; None without any."""
    items: list[dict[str, Any]] = []
    annotated = slides = 0
    for row in run.kept:
        if row.split != "val":
            continue
        path = run.results / "models" / model / "metrics" / f"{row.slide}.json"
        scores = (record(path).get("classes") or {}).get(name) or {}
        if scores.get("annotated"):
            items += scores.get("object_table") or ()
            annotated += scores.get("objects_annotated") or 0
            slides += 1
    if not slides:
        return None
    return Found(
        np.array([float(item.get("probability") or 0) for item in items]),
        np.array([bool(item.get("matched")) for item in items], bool),
        annotated,
    )
