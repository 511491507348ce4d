"""The page: the sections of the report, filled into the template."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from holohisto import __version__
from holohisto.config.sections import MetricsOptions, ReportOptions
from holohisto.foreground.notes import inked
from holohisto.planning.leaks import same_views
from holohisto.report import failures
from holohisto.report.colours import tissue_facts, unlike_slides
from holohisto.report.pictures import cards, gallery
from holohisto.report.pictures.embedded import embedded
from holohisto.report.pictures.figures import curve
from holohisto.report.pictures.rebuilt import rebuilt
from holohisto.report.provenance import counted
from holohisto.report.results import Run, column
from holohisto.report.tables import corrections, cost, scores, table1, table2, token_value, trained
from holohisto.report.tables.correct_next import correct_next_table
from holohisto.report.tables.inference import STAGES, inference
from holohisto.report.tables.scores import ScoreTable
from holohisto.report.tables.tokens import PSNR_GAP, qualities, token_table, tokenizer_words
from holohisto.report.words import ABSENT, duration, memory
from holohisto.statistics.files import read_table

TEMPLATES = Path(__file__).parent / "templates"
RECONSTRUCTION_BYTES = 120_000
"""Largest size of the tokenizer's picture."""
SLIDE_BYTES, TEXT_BYTES, PAGE_BYTES = 97_000, 4_000, 150_000
"""Budget of the page: of a slide, of its text, and of the content that occurs only once."""
SEGMENTER_CURVES = (
    ("loss", "Training loss", "step"),
    ("val_dice", "Validation Dice", "step"),
)
TOKENIZER_CURVES = (
    ("loss", "Training loss", "step"),
    ("psnr", "PSNR, dB", "step"),
    ("codes_used", "Codes in use", "step"),
    ("effective_rank", "Effective rank of the codes", "step"),
    ("kept", "Tokens kept under another stain", "step"),
)


@dataclass(frozen=True)
class Chart:
    """A curve of a training."""

    title: str
    drawing: Markup
    last: str
    """Last value."""


def render(
    run: Run,
    options: ReportOptions,
    origin: dict[str, Any],
    corrected: Sequence[corrections.CorrectedSlide] = (),
) -> str:
    """The whole page as text; `origin` as from `provenance`."""
    sections = (
        _slides(run, options.picture_side),
        _scores(run),
        _tokens(run, options.picture_side),
        _costs(run),
    )
    values: dict[str, Any] = {key: value for section in sections for key, value in section.items()}
    values["summary"] = _summary(run, values["outcomes"], values["score_tables"])
    return (
        _environment()
        .get_template("template.html")
        .render(
            title=options.title,
            style=Markup((TEMPLATES / "style.css").read_text()),
            run=run,
            training=_training(run),
            inference=inference(run),
            inference_stages=STAGES,
            parameters=_flat(run.parameters),
            origin=origin,
            jobs=counted(origin["jobs"]),
            correct_next=correct_next_table(run),
            corrections=corrections.corrections_table(corrected),
            version=__version__,
            date=time.strftime("%d %B %Y").lstrip("0"),
            **values,
        )
    )


def _slides(run: Run, side: int) -> dict[str, Any]:
    """Outcomes, facts and pictures of the slides, the gallery included."""
    outcomes, tissue = failures.outcomes(run), tissue_facts(run)
    unlike, ink = unlike_slides(run, tissue), inked(tissue)
    alike = same_views(run.kept, run.results.foreground_picture)
    own, trained_on = cards.cards(run, side, ink), cards.trained_cards(run, ink)
    fields, errors, unsure = gallery.strips(run, _room(run, (*own, *trained_on)))
    return {
        "outcomes": outcomes,
        "cohort_failures": failures.cohort_failures(run) if run.models else [],
        "failure_lines": failures.failure_lines(outcomes),
        "facts": {row.slide: cards.facts(run, row) for row in run.kept},
        "unlike": unlike,
        "notes": {row.slide: _note(run, row, unlike, ink, alike) for row in run.rows.values()},
        "cards": own,
        "trained": trained_on,
        "fields": fields,
        "failures": errors,
        "unsure": unsure,
    }


def _scores(run: Run) -> dict[str, Any]:
    known = trained.trained(run)
    numbers = scores.paper_tables(run, known)
    return {
        "score_tables": scores.score_tables(run, numbers),
        "challenge": scores.CHALLENGE,
        "table2": table2.table2(run, numbers["table2"]),
        "alpha": table1.alpha_of(run),
        "confidence": table1.confidence_of(run),
        "tile_words": _tile(run),
        "trained_models": trained.trained_table(known, run.reference),
        "token_value": token_value.token_value_table(run, numbers["token_value"]),
    }


def _tokens(run: Run, side: int) -> dict[str, Any]:
    known = qualities(run)
    pictures = rebuilt(run, known, side)
    return {
        "tokens": token_table(known),
        "tokenizer_words": tokenizer_words(run),
        "psnr_gap": PSNR_GAP,
        "rebuilt": pictures,
        "reconstruction": None if pictures else _reconstruction(run, side),
    }


def _costs(run: Run) -> dict[str, Any]:
    lines = cost.slide_lines(run)
    return {
        "slide_lines": lines,
        "longest": max((line.seconds for line in lines), default=0) or 1,
        "stage_columns": list(dict.fromkeys(name for line in lines for name in line.cells)),
        "stages": cost.SLIDE_STAGES,
        "cohort_lines": cost.cohort_lines(run),
    }


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"duration": duration, "memory": memory}
    return environment


def _summary(run: Run, outcomes: dict[str, failures.Outcome], tables: list[ScoreTable]) -> str:
    words = [outcome.word for outcome in outcomes.values()]
    groups = {row.group for row in run.kept if row.group}
    counts = ", ".join(
        f"{words.count(word)} {word}"
        for word in (failures.DONE, failures.FAILED, failures.EXCLUDED)
        if word in words
    )
    size = ", ".join(
        f"{number} {name}{'' if number == 1 else 's'}"
        for number, name in (
            (len(run.rows), "slide"),
            (len(groups), "group"),
            (len(run.models), "model"),
        )
        if number
    )
    reached = [
        f"{line.cells[-2].text}\N{NO-BREAK SPACE}% for {table.name}"
        for table in tables
        for line in (table.blocks[0][1] if table.blocks else ())
        if line.reference and line.cells[-2].text != ABSENT
    ]
    if not reached:
        return f"{size}: {counts}."
    reached = ", ".join(reached)
    return f"{size}: {counts}; {run.reference} reaches a mean slide Dice of {reached}."


def _room(run: Run, shown: Sequence[cards.SlideCard]) -> float:
    """Bytes left for the gallery, so that the page stays below SLIDE_BYTES per slide."""
    taken = sum(len(p.data) for c in shown for p in (c.overlay, c.foreground) if p is not None)
    return (SLIDE_BYTES - TEXT_BYTES) * len(run.kept) - taken - PAGE_BYTES


def _tile(run: Run) -> str:
    """Size of a tile of the tile Dice."""
    tile = (run.parameters.get("metrics") or {}).get("tile") or MetricsOptions().tile
    return f"{trained.size(tuple(tile))} pixels"


def _note(
    run: Run, row: Any, unlike: dict[str, str], ink: dict[str, str], alike: dict[str, str]
) -> list[str]:
    warnings = [] if row.exclude else cards.warnings(run, row, ink)
    others = [sentences[row.slide] for sentences in (alike, unlike) if row.slide in sentences]
    return ([row.note] if row.note else []) + warnings + others


def _training(run: Run) -> list[tuple[str, list[Chart]]]:
    """Charts of the tokenizer and of every model with a table of its training."""
    sources = [("tokenizer", run.results.tokenizer_training, TOKENIZER_CURVES)]
    sources += [(model, run.results.training(model), SEGMENTER_CURVES) for model in run.models]
    drawn = []
    for name, path, curves in sources:
        frame = read_table(path)
        charts = []
        for value, title, along in curves:
            if value not in frame or along not in frame:
                continue
            drawing = curve(frame[along].tolist(), frame[value].tolist(), title, along)
            if drawing is not None:
                charts.append(Chart(title, drawing, f"{column(frame, value)[-1]:.4g}"))
        if charts:
            drawn.append((name, charts))
    return drawn


def _reconstruction(run: Run, side: int) -> Any:
    """The tokenizer's picture, which shows nothing if the tokenizer was given."""
    if (run.parameters.get("tokenizer") or {}).get("checkpoint"):
        return None
    return embedded(run.results.reconstruction, 2 * side, RECONSTRUCTION_BYTES)


def _flat(parameters: dict[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Sections with their options as text."""
    return [
        (
            section,
            [(key, _text(value)) for key, value in values.items()]
            if isinstance(values, dict)
            else [("", _text(values))],
        )
        for section, values in parameters.items()
    ]


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return " × ".join(map(_text, value)) if _numbers(value) else ", ".join(map(_text, value))
    return "–" if value is None else str(value)


def _numbers(values: list | tuple) -> bool:
    return len(values) == 2 and all(isinstance(value, int | float) for value in values)
