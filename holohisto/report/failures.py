"""What became of each slide: done, failed (where and why) or excluded."""

import re
from dataclasses import dataclass
from pathlib import Path

from holohisto.report.results import FINISHED, Run, all_there
from holohisto.sheet.cells import Row

DONE, FAILED, EXCLUDED = "done", "failed", "excluded"
ERROR = re.compile(r"^\d\d:\d\d:\d\d ERROR (.*)$")
BUG = "this is a bug"


@dataclass(frozen=True)
class Step:
    """One expected piece of work."""

    stage: str
    log: Path
    outputs: tuple[Path, ...]
    model: str | None = None


@dataclass(frozen=True)
class Failure:
    """A piece of work whose outputs are missing."""

    stage: str
    reason: str
    model: str | None = None
    started: bool = True
    """False: it waited for something else that failed."""


@dataclass(frozen=True)
class Outcome:
    """What became of a slide, in one of three words."""

    word: str
    failures: tuple[Failure, ...] = ()


def outcomes(run: Run) -> dict[str, Outcome]:
    """The outcome of every slide of the sheet, in its order."""
    cohort = {(item.stage, item.model): item for item in cohort_failures(run)}
    return {slide: _outcome(run, row, cohort) for slide, row in run.rows.items()}


def _outcome(run: Run, row: Row, cohort: dict[tuple[str, str | None], Failure]) -> Outcome:
    if row.exclude:
        return Outcome(EXCLUDED)
    failures = []
    for chain in _chains(run, row):
        missing = next((step for step in chain if not all_there(step.outputs)), None)
        if missing is not None:
            failures.append(_failure(missing, cohort))
    unique = tuple(dict.fromkeys(failures))
    return Outcome(FAILED if unique else DONE, unique)


def _chains(run: Run, row: Row) -> list[list[Step]]:
    """Steps of a slide, in order, once for each model that segments it."""
    slide, results, logs = row.slide, run.results, run.logs
    outputs = {"check": f"check/{slide}.json", "foreground": f"foreground/{slide}.tif"}
    segmented = row.split in run.splits
    taught = row.split in ("train", "val") and any(map(run.learned, run.over_tokens))
    if run.over_tokens and (segmented or taught) and not run.online:
        outputs["tokens"] = f"tokens/{slide}.safetensors"
    shared = [
        Step(stage, logs / stage / f"{slide}.log", (results / path,))
        for stage, path in outputs.items()
    ]
    if not segmented or not run.models:
        return [shared]
    return [shared + _model_steps(run, row, model) for model in run.models]


def _model_steps(run: Run, row: Row, model: str) -> list[Step]:
    slide, folder = row.slide, run.results / "models" / model
    masks = tuple(folder / f"masks/{slide}_{name}.tif" for name in run.classes)
    first = "adopt" if run.models[model].get("kind") == "masks" else "infer"
    outputs = {
        first: (folder / f"labels/{slide}.tif",),
        "mask": (*masks, run.geojson(model, slide), folder / f"overlays/{slide}.jpg"),
        "metrics": (folder / f"metrics/{slide}.json",),
    }
    if row.annotation is None:
        del outputs["metrics"]
    return [
        Step(stage, run.logs / stage / model / f"{slide}.log", paths, model)
        for stage, paths in outputs.items()
    ]


def cohort_failures(run: Run) -> list[Failure]:
    """Steps over the whole cohort that did not give their result: tokenizer and training."""
    path = run.results / "tokenizer/tokenizer.safetensors"
    steps = [Step("tokenizer", run.logs / "tokenizer/tokenizer.log", (path,))]
    steps = steps if run.over_tokens else []
    for model in filter(run.learned, run.models):
        path = run.results / "models" / model / "segmenter.safetensors"
        steps.append(Step("train", run.logs / f"train/{model}.log", (path,), model))
    failures = []
    for step in steps:
        if all_there(step.outputs):
            continue
        reason = reason_in(step.log)
        waited = "not started: it needs every training slide, or a step before it"
        failures.append(Failure(step.stage, reason or waited, step.model, reason is not None))
    return failures


@dataclass(frozen=True)
class Line:
    """Failures told in one line: the same stage and reason of several slides or models."""

    slides: tuple[str, ...]
    stage: str
    models: tuple[str, ...]
    reason: str


def lines(told: dict[str, Outcome]) -> list[Line]:
    """All failures of slides, what equals put together; those that only waited come last."""
    by_slide: dict[tuple[bool, str, str, str], list[str]] = {}
    for slide, outcome in told.items():
        for item in outcome.failures:
            key = (not item.started, slide, item.stage, item.reason)
            by_slide.setdefault(key, []).extend([item.model] if item.model else [])
    merged: dict[tuple[bool, str, str, tuple[str, ...]], list[str]] = {}
    for (waited, slide, stage, reason), models in by_slide.items():
        merged.setdefault((waited, stage, reason, tuple(models)), []).append(slide)
    order = sorted(merged.items(), key=lambda entry: entry[0][0])
    return [
        Line(tuple(slides), stage, models, reason) for (_, stage, reason, models), slides in order
    ]


def _failure(step: Step, cohort: dict[tuple[str, str | None], Failure]) -> Failure:
    reason = reason_in(step.log)
    if reason is not None:
        return Failure(step.stage, reason, step.model)
    if step.stage == "tokens" and ("tokenizer", None) in cohort:
        return Failure(step.stage, "not started: there is no tokenizer", None, False)
    if step.stage == "infer" and ("train", step.model) in cohort:
        reason = f"not started: model {step.model} is not trained"
        return Failure(step.stage, reason, step.model, False)
    return Failure(step.stage, "not started: the run ended before", step.model, False)


def reason_in(log: Path) -> str | None:
    """Why a step failed, from its log; None when it never started.

    The last ERROR line; after a bug, the exception under it; with neither, the last line.
    """
    try:
        text = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        return None
    errors = [match.group(1) for line in text if (match := ERROR.match(line))]
    if errors and errors[-1].startswith(BUG):
        return f"a bug in holohisto: {text[-1].strip()}"
    if errors:
        return errors[-1]
    if text and FINISHED.match(text[-1]):
        return "it was done, but its result is no longer there; run again"
    last = f"; its last line: {text[-1].strip()}" if text else ""
    return f"ended without an error line, perhaps killed for memory or time{last}"
