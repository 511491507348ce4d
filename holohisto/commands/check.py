"""Check a slide, or all slides of a sheet: readable, resolution, annotation, cost."""

import argparse
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from holohisto.annotation import Annotation
from holohisto.annotation.reader import annotated_classes
from holohisto.config.config import Config
from holohisto.config.parsing import from_json, read_config
from holohisto.config.sections import CheckOptions, Classes, ClassOptions
from holohisto.errors import HolohistoError, SeveralErrors
from holohisto.foreground.ink import WORDS, ink_sentence
from holohisto.foreground.map import load_foreground
from holohisto.foreground.misplaced import misplaced
from holohisto.foreground.notes import facts_in, inked, unlike_training
from holohisto.foreground.overview import Overview, overview_of
from holohisto.planning import named_files
from holohisto.planning.cost import estimate
from holohisto.planning.leaks import same_files, same_pictures
from holohisto.planning.survey import SurveyedSlide, report, survey
from holohisto.runtime import atomic, memory, progress
from holohisto.runtime.results import Results
from holohisto.segmenter import given
from holohisto.sheet.cells import MPP_LIMITS, SLIDE_ID, Row, id_problem
from holohisto.slide.record import SlideRecord, inspect

logger = logging.getLogger(__name__)

DEFAULT_CONFIG = Path("config/config.yaml")
"""Read with --sheet where --config is not given."""
LARGEST_MEMORY = 4 * 2**30
"""Bytes of addresses that the check of a slide may reserve. It uses a fraction of them as memory:
threads and files that are mapped count as well."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", type=Path, nargs="?", metavar="IMAGE", help="a slide")
    parser.add_argument("--slide", metavar="ID", help="id of the slide")
    parser.add_argument("--annotation", type=Path, metavar="FILE", help="annotation of the slide")
    parser.add_argument(
        "--annotated",
        metavar="NAMES",
        help="annotated classes, separated by commas (default: all)",
    )
    parser.add_argument(
        "--slide-mpp",
        type=float,
        metavar="M",
        help="micrometres per pixel of level 0 (default: the value in the file)",
    )
    parser.add_argument(
        "--options",
        type=from_json(CheckOptions),
        default=CheckOptions(),
        metavar="JSON",
        help="section `check` of the configuration",
    )
    parser.add_argument(
        "--classes",
        type=from_json(Classes),
        default={},
        metavar="JSON",
        help="section `classes` of the configuration",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="the record to write, .json")
    parser.add_argument(
        "--sheet", type=Path, metavar="FILE", help="check all slides of this sheet instead of IMAGE"
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help=f"configuration for --sheet (default: {DEFAULT_CONFIG}, if it exists)",
    )


def run(arguments: argparse.Namespace) -> None:
    with memory.at_most(LARGEST_MEMORY):
        _check(arguments)


def _check(arguments: argparse.Namespace) -> None:
    if arguments.sheet is not None:
        if arguments.image is not None:
            raise HolohistoError("check", "takes an IMAGE or --sheet, not both")
        _check_sheet(arguments.sheet, arguments.config)
        return
    if arguments.image is None or arguments.slide is None or arguments.output is None:
        raise HolohistoError("check", "needs IMAGE, --slide and --output, or --sheet")
    _check_words(arguments.slide, arguments.slide_mpp)
    row = Row(
        slide=arguments.slide,
        image=arguments.image,
        split="predict",
        annotation=arguments.annotation,
        mpp=arguments.slide_mpp,
        annotated=annotated_classes(arguments.annotated, arguments.classes),
    )
    record = _inspect(row, arguments.options, arguments.classes)
    for warning in record.warnings:
        logger.warning("slide %s: %s", record.slide, warning)
    atomic.write_text(arguments.output, record.text())


def _check_words(slide: str, mpp: float | None) -> None:
    """Apply the sheet's rules to the id and resolution of the command line."""
    if id_problem(slide) or slide.lower() == "cohort":
        raise HolohistoError(
            "--slide",
            f"id {slide!r} cannot be a file name, or is reserved",
            allowed=SLIDE_ID.pattern,
        )
    if mpp is not None and not MPP_LIMITS[0] <= mpp <= MPP_LIMITS[1]:  # false for nan as well
        raise HolohistoError(
            "--slide-mpp",
            "is no resolution of a slide",
            found=mpp,
            allowed="a number from {:g} to {:g}".format(*MPP_LIMITS),
        )


def _inspect(row: Row, options: CheckOptions, classes: dict[str, ClassOptions]) -> SlideRecord:
    """Return the record of a slide; warn in it of ink, and of an annotation that shows no class or
    lies on glass.
    """
    record = inspect(row.slide, row.image, row.annotation, row.mpp, options)
    estimates = estimate(record.size, record.working_size)
    with record.open(row.image) as slide:
        overview = overview_of(slide, record.mpp_xy)
    warnings = [*record.warnings, ink_sentence(overview.ink) if overview else None]
    if row.annotation is not None and classes:
        warnings += _of_annotation(row, classes, record, overview)
    kept = [warning for warning in warnings if warning]
    return record.model_copy(update={"estimates": estimates, "warnings": kept})


def _of_annotation(
    row: Row, classes: Classes, record: SlideRecord, overview: Overview | None
) -> list[str | None]:
    """Open the annotation, and return warnings if it shows nothing or lies on glass."""
    if row.annotation is None:
        return []
    with Annotation(
        row.annotation, classes, record.size, record.scale, row.annotated, record.bounds
    ) as annotation:
        if annotation.is_empty():
            return [f"the annotation shows none of the classes; if wrong, {annotation.advice}"]
        if overview is None or (boxes := annotation.boxes) is None:
            return []
        return [misplaced(boxes, overview, record.mpp_xy)]


def _settings(path: Path | None) -> Config:
    """Read the configuration: the given file, else the default one, else the defaults."""
    if path is None and not DEFAULT_CONFIG.exists():
        logger.info("no --config and no %s: checking with the defaults", DEFAULT_CONFIG)
        return Config()
    return read_config(path or DEFAULT_CONFIG)


def _check_sheet(path: Path, config_path: Path | None) -> None:
    """Print a table of all slides; raise at the end if any cannot be processed.

    Slides with colours unlike training, and with ink, are marked where foreground maps exist.
    """
    from holohisto.sheet.rows import read_sheet  # pandas, which the check of one slide does without

    settings = _settings(config_path)
    rows = read_sheet(path, tuple(settings.classes))
    slides = survey(
        progress.track(rows.values(), len(rows), "checking", "slide"),
        lambda row: _with_tissue(_inspect(row, settings.check, settings.classes)),
    )
    print(report(_with_colours(slides), settings))
    named = [*named_files.missing(settings), *given.mistakes(settings, Results())]
    mistakes = named + _leaks(path, slides)
    if bad := [slide.row.slide for slide in slides if slide.problem]:
        problem = f"{len(bad)} of {len(rows)} slides cannot be processed: {', '.join(bad)}"
        advice = "mend them, or mark them in the column `exclude`"
        mistakes.append(str(HolohistoError(path, problem, advice=advice)))
    if mistakes:
        raise SeveralErrors(mistakes)


def _with_tissue(record: SlideRecord) -> SlideRecord:
    """Add the share of tissue to the estimates where an earlier run has found it."""
    path = Results().foreground(record.slide)
    try:
        share = load_foreground(path, record).share
    except HolohistoError:  # none yet, or of another content of the slide
        return record
    return record.model_copy(update={"estimates": {**record.estimates, "tissue": share}})


def _leaks(path: Path, slides: list[SurveyedSlide]) -> list[str]:
    """Mistakes for pictures that are in several splits."""
    readable = [slide.row for slide in slides if slide.record is not None]
    found = same_files(path, readable) + same_pictures(path, readable)
    return list(dict.fromkeys(found))


def _with_colours(slides: list[SurveyedSlide]) -> list[SurveyedSlide]:
    """Warn in the records of slides unlike every training slide, and of the ink in the maps."""
    kept = [slide.row for slide in slides if slide.record is not None]
    results = Results()
    facts = facts_in({row.slide: results.foreground(row.slide) for row in kept})
    unlike = unlike_training(facts, [row.slide for row in kept if row.split == "train"])
    ink = inked(facts)
    return [_with_notes(slide, ink, unlike) for slide in slides]


def _with_notes(
    slide: SurveyedSlide, ink: Mapping[str, str], unlike: Mapping[str, str]
) -> SurveyedSlide:
    """Add a slide's sentences to its record; that of its map replaces that of its overview."""
    record, name = slide.record, slide.row.slide
    if record is None:
        return slide
    warnings = [text for text in record.warnings if name not in ink or not text.startswith(WORDS)]
    warnings += [sentences[name] for sentences in (ink, unlike) if name in sentences]
    return replace(slide, record=record.model_copy(update={"warnings": warnings}))
