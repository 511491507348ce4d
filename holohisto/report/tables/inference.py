"""Inference of every slide: time by stage, and visibility of tile borders in the result."""

import math
from dataclasses import dataclass
from typing import Any

from holohisto.report.results import Run, record
from holohisto.report.words import ABSENT, duration

STAGES = ("read", "tokenise", "model", "stitch", "write")
VISIBLE = 0.05
"""Disagreement of overlapping tiles from which a slide is counted in the text."""


@dataclass(frozen=True)
class InferenceLine:
    """One slide under one model."""

    slide: str
    model: str
    seconds: str
    cells: list[str]
    """Duration of each stage, in the order of STAGES."""
    bottleneck: str
    device: str
    disagreement: str
    at_borders: str
    visible: bool


@dataclass(frozen=True)
class Inference:
    """The section on inference."""

    lines: list[InferenceLine]
    words: str


def inference(run: Run) -> Inference | None:
    """Times and seams of all slides and models; None without any."""
    lines = [
        line
        for row in run.kept
        for model in run.models
        if (line := _line(run, model, row.slide)) is not None
    ]
    if not lines:
        return None
    counts = {stage: sum(line.bottleneck == stage for line in lines) for stage in STAGES}
    most = max(counts, key=lambda stage: counts[stage])
    words = f"The bottleneck is “{most}” in {counts[most]} of {len(lines)} inferences. "
    visible = sum(line.visible for line in lines)
    number = visible or "none"
    words += f"In {number} of them overlapping tiles disagree by {100 * VISIBLE:g} % or more."
    return Inference(lines, words)


def _line(run: Run, model: str, slide: str) -> InferenceLine | None:
    facts = record(run.results.inference(model, slide))
    stages = facts.get("stages")
    if not isinstance(stages, dict):
        return None
    disagreement = _disagreement(facts.get("seam"))
    resumed = facts.get("resumed_bands")
    seconds = duration(float(facts.get("seconds") or math.nan))
    return InferenceLine(
        slide,
        model,
        f"{seconds}, {resumed} bands resumed" if resumed else seconds,
        [duration(float(stages.get(stage) or 0)) for stage in STAGES],
        str(facts.get("bottleneck") or ABSENT),
        str(facts.get("device") or ""),
        ABSENT if disagreement is None else f"{100 * disagreement:.1f} %",
        _at_borders(record(run.results.mask_objects(model, slide))),
        disagreement is not None and disagreement >= VISIBLE,
    )


def _disagreement(seam: Any) -> float | None:
    """Share over all classes; None if no tiles overlap or nothing was found there."""
    counts = [count for count in (seam or {}).values() if isinstance(count, dict)]
    either = sum(count.get("either") or 0 for count in counts)
    return sum(count.get("differing") or 0 for count in counts) / either if either else None


def _at_borders(objects: dict[str, Any]) -> str:
    counts = [count for count in objects.values() if isinstance(count, dict)]
    known = [count for count in counts if count.get("at_borders") is not None]
    total = sum(count["objects"] for count in known)
    if not total:
        return ABSENT
    touching = sum(count["at_borders"] for count in known)
    return f"{100 * touching / total:.0f} % of {total}"
