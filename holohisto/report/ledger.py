"""Time and memory of every stage, from the benchmark files of the workflow."""

import math
from dataclasses import dataclass, field
from pathlib import Path

from holohisto.report.gather import Run, column, table

SLIDE_STAGES = ("check", "foreground", "tokens", "infer", "mask", "metrics")
BY_MODEL = ("infer", "mask", "metrics")


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
    """One line a slide that has any benchmark, in the sheet's order."""
    folder = run.results / "benchmarks"
    lines = []
    for row in run.kept:
        cells = {}
        for stage in SLIDE_STAGES:
            models = run.models if stage in BY_MODEL else (None,)
            for model in models:
                parts = [stage] if model is None else [stage, model]
                cost = _cost(folder.joinpath(*parts) / f"{row.slide}.tsv")
                if cost is not None:
                    cells[" ".join(parts)] = cost
        if cells:
            lines.append(Line(row.slide, cells))
    return lines


def cohort_lines(run: Run) -> list[Line]:
    """Tokenizer, each training, cohort tables."""
    folder = run.results / "benchmarks"
    steps = {"tokenizer": folder / "tokenizer/tokenizer.tsv"}
    steps |= {f"train {model}": folder / f"train/{model}.tsv" for model in run.models}
    steps["cohort"] = folder / "cohort/cohort.tsv"
    costs = {name: _cost(path) for name, path in steps.items()}
    return [Line(name, {name: cost}) for name, cost in costs.items() if cost is not None]


def _cost(path: Path) -> Cost | None:
    """Mean time and largest memory over the repeats of a benchmark file."""
    frame = table(path)
    if frame.empty:
        return None
    seconds, megabytes = column(frame, "s"), column(frame, "max_rss")
    return Cost(
        sum(seconds) / len(seconds) if seconds else float("nan"),
        max(megabytes, default=float("nan")),
    )
