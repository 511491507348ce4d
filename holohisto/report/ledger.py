"""Time and memory of every stage, from the workflow's benchmark files and the logs.

Snakemake samples memory now and then, and so misses most of a job of about a second; each job
logs its own peak at its end.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from holohisto.report.results import FINISHED, Run, column
from holohisto.statistics.files import read_table

SLIDE_STAGES = ("check", "foreground", "tokens", "infer", "adopt", "mask", "metrics")
BY_MODEL = ("infer", "adopt", "mask", "metrics")
SHORT = 1.0
"""Seconds below which sampled memory means nothing."""


@dataclass(frozen=True)
class Cost:
    """What one step took; NaN when not recorded."""

    seconds: float
    megabytes: float


@dataclass(frozen=True)
class Line:
    """All steps of one slide, or one step of the cohort."""

    name: str
    cells: dict[str, Cost] = field(default_factory=dict)
    """Column (`tokens`, `infer holohisto`) to cost."""

    @property
    def seconds(self) -> float:
        """Sum of all steps."""
        return sum(c.seconds for c in self.cells.values() if not math.isnan(c.seconds))

    @property
    def megabytes(self) -> float:
        """Largest step; 0 when not recorded."""
        sizes = [c.megabytes for c in self.cells.values() if not math.isnan(c.megabytes)]
        return max(sizes, default=0.0)

    def stages(self) -> dict[str, float]:
        """Seconds a stage, all models together."""
        sums: dict[str, float] = {}
        for name, cost in self.cells.items():
            stage = name.split()[0]
            if not math.isnan(cost.seconds):
                sums[stage] = sums.get(stage, 0.0) + cost.seconds
        return sums


def slide_lines(run: Run) -> list[Line]:
    """One line a slide of which any cost is known, in the sheet's order."""
    lines = []
    for row in run.kept:
        cells = {}
        for stage in SLIDE_STAGES:
            models = run.models if stage in BY_MODEL else (None,)
            for model in models:
                parts = [stage] if model is None else [stage, model]
                cost = _cost(run, "/".join([*parts, row.slide]))
                if cost is not None:
                    cells[" ".join(parts)] = cost
        if cells:
            lines.append(Line(row.slide, cells))
    return lines


def cohort_lines(run: Run) -> list[Line]:
    """Tokenizer, each training, cohort tables."""
    steps = {"tokenizer": "tokenizer/tokenizer"}
    steps |= {f"train {model}": f"train/{model}" for model in run.models}
    steps |= {"cohort": "cohort/cohort", "gallery": "gallery/gallery"}
    costs = {name: _cost(run, job) for name, job in steps.items()}
    return [Line(name, {name: cost}) for name, cost in costs.items() if cost is not None]


def _cost(run: Run, job: str) -> Cost | None:
    """The larger of what the benchmark file and the log of a job tell; None when neither does."""
    costs = [
        cost
        for cost in (
            _sampled(run.results / "benchmarks" / f"{job}.tsv"),
            _logged(run.logs / f"{job}.log"),
        )
        if cost is not None
    ]
    if not costs:
        return None
    return Cost(_largest(c.seconds for c in costs), _largest(c.megabytes for c in costs))


def _sampled(path: Path) -> Cost | None:
    """Mean time over the repeats of a benchmark file, and, unless short, largest memory."""
    frame = read_table(path)
    if frame.empty:
        return None
    seconds = column(frame, "s")
    mean = sum(seconds) / len(seconds) if seconds else math.nan
    return Cost(mean, math.nan if mean < SHORT else _largest(column(frame, "max_rss")))


def _logged(path: Path) -> Cost | None:
    """Time and peak memory in the last line of a log; None unless the job succeeded."""
    try:
        lines = path.read_text(errors="replace").split("\n")
    except OSError:
        return None
    found = next((match for line in reversed(lines) if (match := FINISHED.match(line))), None)
    if found is None:
        return None
    return Cost(float(found["seconds"]), float(found["megabytes"] or math.nan))


def _largest(values: Iterable[float]) -> float:
    """NaN when there is none."""
    return max((value for value in values if not math.isnan(value)), default=math.nan)
