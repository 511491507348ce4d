"""Inference of every slide: where its time went, and whether tiles can be seen in the result."""

import math
from dataclasses import dataclass
from typing import Any

from holohisto.report.results import Run, record
from holohisto.report.words import ABSENT, duration

STAGES = ("read", "tokenise", "model", "stitch", "write")
VISIBLE = 0.05
"""Disagreement of overlapping tiles from which a slide is told in the text."""


@dataclass(frozen=True)
class InferenceLine:
    """One slide under one model."""

    slide: str
    model: str
    seconds: str
    cells: list[str]
    """Seconds each stage was at work, in the order of STAGES."""
    bottleneck: str
    device: str
    disagreement: str
    at_borders: str
    visible: bool


@dataclass(frozen=True)
class Inference:
    """All that is told of inference."""

    lines: list[InferenceLine]
    words: str


def inference(run: Run) -> Inference | None:
    """Times and seams of all slides and models; None when nothing is known of any."""
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
    words = f"The bottleneck is {most} on {counts[most]} of {len(lines)}. "
    visible = sum(line.visible for line in lines)
    told = f"On {visible} of them overlapping tiles" if visible else "On none do overlapping tiles"
    return Inference(lines, f"{words}{told} disagree by {100 * VISIBLE:g} % or more.")


def _line(run: Run, model: str, slide: str) -> InferenceLine | None:
    folder = run.results / "models" / model
    facts = record(folder / "labels" / f"{slide}.json")
    stages = facts.get("stages")
    if not isinstance(stages, dict):
        return None
    found = _disagreement(facts.get("seam"))
    taken_up = facts.get("taken_up")
    seconds = duration(float(facts.get("seconds") or math.nan))
    return InferenceLine(
        slide,
        model,
        f"{seconds}, {taken_up} bands from before" if taken_up else seconds,
        [duration(float(stages.get(stage) or 0)) for stage in STAGES],
        str(facts.get("bottleneck") or ABSENT),
        str(facts.get("device") or ""),
        ABSENT if found is None else f"{100 * found:.1f} %",
        _at_borders(record(folder / "masks" / f"{slide}.json")),
        found is not None and found >= VISIBLE,
    )


def _disagreement(seam: Any) -> float | None:
    """Over all classes; None where no tiles overlap or nothing was found."""
    counts = [one for one in (seam or {}).values() if isinstance(one, dict)]
    either = sum(one.get("either") or 0 for one in counts)
    return sum(one.get("differing") or 0 for one in counts) / either if either else None


def _at_borders(objects: dict[str, Any]) -> str:
    counts = [one for one in objects.values() if isinstance(one, dict)]
    known = [one for one in counts if one.get("at_borders") is not None]
    total = sum(one["objects"] for one in known)
    if not total:
        return ABSENT
    touching = sum(one["at_borders"] for one in known)
    return f"{100 * touching / total:.0f} % of {total}"
