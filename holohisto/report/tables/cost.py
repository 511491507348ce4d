"""Time and memory of every stage, from the workflow's benchmark files and the logs.

Snakemake samples memory at intervals and misses the peak of jobs of about a second; each job
therefore logs its own peak at its end.
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
"""Seconds below which sampled memory is ignored."""


@dataclass(frozen=True)
class StepCost:
    """Time and memory of one step; NaN if not recorded."""

    seconds: float
    megabytes: float


@dataclass(frozen=True)
class CostLine:
    """All steps of one slide, or one step of the cohort."""

    name: str
    cells: dict[str, StepCost] = field(default_factory=dict)
    """Column (`tokens`, `infer holohisto`) to cost."""

    @property
    def seconds(self) -> float:
        """Sum over all steps."""
        return sum(c.seconds for c in self.cells.values() if not math.isnan(c.seconds))

    @property
    def megabytes(self) -> float:
        """Memory of the largest step; 0 if not recorded."""
        sizes = [c.megabytes for c in self.cells.values() if not math.isnan(c.megabytes)]
        return max(sizes, default=0.0)

    def stages(self) -> dict[str, float]:
        """Seconds by stage, all models together."""
        sums: dict[str, float] = {}
        for name, cost in self.cells.items():
            stage = name.split()[0]
            if not math.isnan(cost.seconds):
                sums[stage] = sums.get(stage, 0.0) + cost.seconds
        return sums


def slide_lines(run: Run) -> list[CostLine]:
    """One line per slide with any known cost, in the sheet's order."""
    lines = []
    for row in run.kept:
        cells = {}
        for stage in SLIDE_STAGES:
            models = run.models if stage in BY_MODEL else (None,)
            for model in models:
                names = [stage] if model is None else [stage, model]
                cost = _cost(run, "/".join([*names, row.slide]))
                if cost is not None:
                    cells[" ".join(names)] = cost
        if cells:
            lines.append(CostLine(row.slide, cells))
    return lines


def cohort_lines(run: Run) -> list[CostLine]:
    """Lines of tokenizer, trainings, what the tokens add, the cohort's tables and the gallery."""
    steps = {"tokenizer": "tokenizer/tokenizer"}
    steps |= {f"train {model}": f"train/{model}" for model in run.models}
    steps |= {f"token_value {model}": f"token_value/{model}" for model in run.models}
    steps |= {"cohort": "cohort/cohort", "gallery": "gallery/gallery"}
    costs = {name: _cost(run, job) for name, job in steps.items()}
    return [CostLine(name, {name: cost}) for name, cost in costs.items() if cost is not None]


def _cost(run: Run, job: str) -> StepCost | None:
    """The larger values of a job's benchmark file and log; None if neither has any."""
    costs = [
        cost
        for cost in (
            _sampled(run.results.benchmark(job)),
            _logged(run.logs / f"{job}.log"),
        )
        if cost is not None
    ]
    if not costs:
        return None
    return StepCost(_largest(c.seconds for c in costs), _largest(c.megabytes for c in costs))


def _sampled(path: Path) -> StepCost | None:
    """Mean time over the repeats in a benchmark file, and the largest memory unless short."""
    frame = read_table(path)
    if frame.empty:
        return None
    seconds = column(frame, "s")
    mean = sum(seconds) / len(seconds) if seconds else math.nan
    return StepCost(mean, math.nan if mean < SHORT else _largest(column(frame, "max_rss")))


def _logged(path: Path) -> StepCost | None:
    """Time and peak memory in the last line of a log; None unless the job succeeded."""
    try:
        lines = path.read_text(errors="replace").split("\n")
    except OSError:
        return None
    last = next((match for line in reversed(lines) if (match := FINISHED.match(line))), None)
    if last is None:
        return None
    return StepCost(float(last["seconds"]), float(last["megabytes"] or math.nan))


def _largest(values: Iterable[float]) -> float:
    """Largest value that is not NaN; NaN without any."""
    return max((value for value in values if not math.isnan(value)), default=math.nan)
