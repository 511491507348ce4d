"""The outcome of each slide: done, failed (at which step and why) or excluded."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from holohisto.errors import printable
from holohisto.report.results import FINISHED, Run, all_exist
from holohisto.sheet.cells import Row

DONE, FAILED, EXCLUDED = "done", "failed", "excluded"
ERROR = re.compile(r"^\d\d:\d\d:\d\d ERROR (.*)$")
BUG = "this is a bug"
LONGEST_LINE = 4000
LONGEST_LOG = 2**20
"""Bytes that are read from the end of a log."""


@dataclass(frozen=True)
class Step:
    """One job that is expected to run, with its outputs."""

    stage: str
    log: Path
    outputs: tuple[Path, ...]
    model: str | None = None


@dataclass(frozen=True)
class Failure:
    """A job with missing outputs."""

    stage: str
    reason: str
    model: str | None = None
    started: bool = True
    """False: the job did not run, because another one failed before it."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of a slide: done, failed or excluded, and its failed jobs."""

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
        missing = next((step for step in chain if not all_exist(step.outputs)), None)
        if missing is not None:
            failures.append(_failure(missing, cohort))
    unique = tuple(dict.fromkeys(failures))
    return Outcome(FAILED if unique else DONE, unique)


def _chains(run: Run, row: Row) -> list[list[Step]]:
    """Steps of a slide, in order, once for each model that segments it."""
    slide, results, logs = row.slide, run.results, run.logs
    outputs = {"check": results.record(slide), "foreground": results.foreground(slide)}
    segmented = row.split in run.splits
    trained_on = row.split in ("train", "val") and any(map(run.learned, run.over_tokens))
    if run.over_tokens and (segmented or trained_on) and not run.online:
        outputs["tokens"] = results.tokens(slide)
    shared = [
        Step(stage, logs / stage / f"{slide}.log", (path,)) for stage, path in outputs.items()
    ]
    if not segmented or not run.models:
        return [shared]
    return [shared + _model_steps(run, row, model) for model in run.models]


def _model_steps(run: Run, row: Row, model: str) -> list[Step]:
    slide, results = row.slide, run.results
    masks = tuple(results.mask(model, slide, name) for name in run.classes)
    first = "adopt" if run.models[model].get("kind") == "masks" else "infer"
    outputs = {
        first: (results.labels(model, slide),),
        "mask": (*masks, run.geojson(model, slide), results.overlay(model, slide)),
        "metrics": (results.metrics(model, slide),),
    }
    if row.annotation is None:
        del outputs["metrics"]
    return [
        Step(stage, run.logs / stage / model / f"{slide}.log", paths, model)
        for stage, paths in outputs.items()
    ]


def cohort_failures(run: Run) -> list[Failure]:
    """Steps over the whole cohort with missing outputs: tokenizer, training, value of the tokens.

    The last only if it was started: otherwise the step is listed for which it waits.
    """
    steps = []
    if run.over_tokens:
        log = run.logs / "tokenizer/tokenizer.log"
        steps.append(Step("tokenizer", log, (run.results.tokenizer,)))
    for model in filter(run.learned, run.models):
        log, segmenter = run.logs / f"train/{model}.log", run.results.segmenter(model)
        steps.append(Step("train", log, (segmenter,), model))
    failures = []
    for step in steps:
        if all_exist(step.outputs):
            continue
        reason = reason_in(step.log)
        not_started = "not started: a training slide or an earlier step is missing"
        failures.append(Failure(step.stage, reason or not_started, step.model, reason is not None))
    return failures + _token_value_failures(run)


def _token_value_failures(run: Run) -> list[Failure]:
    failures = []
    for model in run.over_tokens:
        reason = reason_in(run.logs / f"token_value/{model}.log")
        if reason is not None and not run.online and not run.results.token_value(model).exists():
            failures.append(Failure("token_value", reason, model))
    return failures


@dataclass(frozen=True)
class FailureLine:
    """One line of the list of failures: slides and models with the same stage and reason."""

    slides: tuple[str, ...]
    stage: str
    models: tuple[str, ...]
    reason: str


def failure_lines(outcomes: dict[str, Outcome]) -> list[FailureLine]:
    """All failures of slides, equal ones in one line; jobs that never started come last."""
    by_slide: dict[tuple[bool, str, str, str], list[str]] = {}
    for slide, outcome in outcomes.items():
        for item in outcome.failures:
            key = (not item.started, slide, item.stage, item.reason)
            by_slide.setdefault(key, []).extend([item.model] if item.model else [])
    merged: dict[tuple[bool, str, str, tuple[str, ...]], list[str]] = {}
    for (not_started, slide, stage, reason), models in by_slide.items():
        merged.setdefault((not_started, stage, reason, tuple(models)), []).append(slide)
    order = sorted(merged.items(), key=lambda entry: entry[0][0])
    return [
        FailureLine(tuple(slides), stage, models, reason)
        for (_, stage, reason, models), slides in order
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
    return Failure(step.stage, "not started: the run ended earlier", step.model, False)


def _end_of(log: Path) -> str:
    """The last part of a log."""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - LONGEST_LOG))
        return file.read().decode(errors="replace")


def reason_in(log: Path) -> str | None:
    """The reason of a failure, from the log of the job; None if it never started.

    It is the last ERROR line; after a bug, the exception below it; without any, the last line.
    """
    try:
        text = [
            printable(line[:LONGEST_LINE]) for line in _end_of(log).splitlines() if line.strip()
        ]
    except OSError:
        return None
    errors = [match.group(1) for line in text if (match := ERROR.match(line))]
    if errors and errors[-1].startswith(BUG):
        return f"a bug in holohisto: {text[-1].strip()}"
    if errors:
        return errors[-1]
    if text and FINISHED.match(text[-1]):
        return "finished, but its result is missing now; run again"
    last = f"; its last line: {text[-1].strip()}" if text else ""
    return f"ended without an error message; it may have been killed for memory or time{last}"
