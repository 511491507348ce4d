"""`holohisto check`: tell whether a slide, or a whole sheet, can be processed, and its cost."""

import argparse
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from holohisto.annotation import Annotation
from holohisto.annotation.reader import annotated_classes
from holohisto.config.config import Config
from holohisto.config.parsing import from_json, read_config
from holohisto.config.sections import CheckOptions, Classes, ClassOptions
from holohisto.errors import HolohistoError
from holohisto.planning.cost import cost_of, estimate, summary, token_summary
from holohisto.runtime import atomic, progress
from holohisto.runtime.units import bytes_text, time_text
from holohisto.sheet.cells import SLIDE_ID, Row
from holohisto.sheet.rows import read_sheet
from holohisto.slide.record import SlideRecord, inspect

logger = logging.getLogger(__name__)

HEADINGS = (
    "slide",
    "split",
    "group",
    "reader",
    "compression",
    "levels",
    "size",
    "mpp",
    "factor",
    "background",
    "annotation",
    "tokens",
    "variants",
    "map",
    "disk",
    "gpu",
    "cpu",
    "status",
)
DEFAULT_CONFIG = Path("config/config.yaml")
LOWEST_MPP, HIGHEST_MPP = 0.01, 100.0  # as in the sheet


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", type=Path, nargs="?", metavar="IMAGE", help="one slide")
    parser.add_argument("--slide", metavar="ID", help="its id")
    parser.add_argument("--annotation", type=Path, metavar="FILE", help="its annotation")
    parser.add_argument(
        "--annotated",
        metavar="NAMES",
        help="classes annotated on it, separated by commas; else all",
    )
    parser.add_argument("--slide-mpp", type=float, metavar="M", help="its mpp, over the file's")
    parser.add_argument(
        "--options",
        type=from_json(CheckOptions),
        default=CheckOptions(),
        metavar="JSON",
        help="the config's section `check`",
    )
    parser.add_argument(
        "--classes",
        type=from_json(Classes),
        default={},
        metavar="JSON",
        help="the config's section `classes`",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="the record, .json")
    parser.add_argument(
        "--sheet", type=Path, metavar="FILE", help="check all slides of a sheet instead"
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help=f"for --sheet; {DEFAULT_CONFIG} if it is there"
    )


def run(arguments: argparse.Namespace) -> None:
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
    """Hold the words of the command line to the sheet's rules."""
    if not SLIDE_ID.fullmatch(slide) or slide.lower() == "cohort":
        raise HolohistoError(
            "--slide",
            f"id {slide!r} cannot be a file name, or is reserved",
            allowed=SLIDE_ID.pattern,
        )
    if mpp is not None and not LOWEST_MPP <= mpp <= HIGHEST_MPP:  # false for nan as well
        raise HolohistoError(
            "--slide-mpp",
            "is no resolution of a slide",
            found=mpp,
            allowed=f"a number from {LOWEST_MPP} to {HIGHEST_MPP}",
        )


def _inspect(row: Row, options: CheckOptions, classes: dict[str, ClassOptions]) -> SlideRecord:
    """The record of one slide, its annotation looked into as well."""
    record = inspect(row.slide, row.image, row.annotation, row.mpp, options)
    estimates = estimate(record.size, record.working_size)
    record = record.model_copy(update={"estimates": estimates})
    if row.annotation is None or not classes:
        return record
    with Annotation(
        row.annotation, classes, record.size, record.factor, row.annotated
    ) as annotation:
        if not annotation.is_empty():
            return record
    warning = "the annotation shows none of the classes; if wrong, set `classes.<name>.values`"
    return record.model_copy(update={"warnings": [*record.warnings, warning]})


@dataclass(frozen=True)
class _Finding:
    """One line of the cohort's table."""

    row: Row
    record: SlideRecord | None
    problem: str | None = None

    def cells(self, twins: dict[str, list[str]], settings: Config) -> list[str]:
        """The texts of the line; `twins` has slide ids by fingerprint."""
        row, record = self.row, self.record
        start = [row.slide, row.split, row.group or "-"]
        if record is None:
            status = self.problem or "excluded" + (f": {row.note}" if row.note else "")
            return [*start, *["-"] * (len(HEADINGS) - len(start) - 1), status]
        notes = list(record.warnings)
        same = [slide for slide in twins[record.fingerprint] if slide != row.slide]
        if same:
            notes.append(f"same image as {', '.join(same)}")
        own = cost_of(record, row.split, settings)
        return [
            *start,
            record.reader,
            record.compression,
            str(len(record.levels)),
            "{}x{}".format(*record.size),
            f"{record.mpp:.4g} ({record.mpp_source})",
            str(record.factor),
            _colour(record.background),
            record.annotation["fits"] if record.annotation else "-",
            f"{own.tokens:,}",
            _unless_none(settings.encodings(row.split), str),
            _unless_none(own.token_bytes, bytes_text),
            _unless_none(own.disk_bytes, bytes_text),
            _unless_none(own.seconds, time_text),
            _unless_none(own.cpu_seconds, time_text),
            "; ".join(["ok", *notes]),
        ]


def _colour(rgb: tuple[int, int, int]) -> str:
    """Return white or black if the colour is exactly that, else #rrggbb."""
    names = {(255, 255, 255): "white", (0, 0, 0): "black"}
    return names.get(rgb, "#{:02x}{:02x}{:02x}".format(*rgb))


def _unless_none(number: float, text: Callable[[float], str]) -> str:
    """The number as text, or a dash for 0."""
    return text(number) if number else "-"


def _settings(path: Path | None) -> Config:
    """The config that was named, else the one at its usual place, else the defaults."""
    if path is None and not DEFAULT_CONFIG.exists():
        logger.info("no --config and no %s: checking with the defaults", DEFAULT_CONFIG)
        return Config()
    return read_config(path or DEFAULT_CONFIG)


def _check_sheet(path: Path, config_path: Path | None) -> None:
    """Print one line per slide; raise at the end if any cannot be processed."""
    settings = _settings(config_path)
    rows = read_sheet(path, tuple(settings.classes))
    findings = [
        _finding(row, settings)
        for row in progress.track(rows.values(), len(rows), "checking", "slide")
    ]
    twins: dict[str, list[str]] = {}
    for finding in findings:
        if finding.record is not None:
            twins.setdefault(finding.record.fingerprint, []).append(finding.row.slide)
    _print_table([finding.cells(twins, settings) for finding in findings])
    good = [(one.record, one.row.split) for one in findings if one.record is not None]
    print(summary(good, settings))
    print(token_summary(good, settings))
    bad = [finding.row.slide for finding in findings if finding.problem]
    if bad:
        raise HolohistoError(
            path,
            f"{len(bad)} of {len(rows)} slides cannot be processed: {', '.join(bad)}",
            advice="mend them, or mark them in the column `exclude`",
        )


def _finding(row: Row, settings: Config) -> _Finding:
    if row.exclude:
        return _Finding(row, None)
    try:
        return _Finding(row, _inspect(row, settings.check, settings.classes))
    except HolohistoError as error:
        return _Finding(row, None, f"ERROR {error}")


def _print_table(lines: list[list[str]]) -> None:
    """Print columns as wide as their longest text; the last one is free."""
    table = [list(HEADINGS), *lines]
    widths = [max(len(line[column]) for line in table) for column in range(len(HEADINGS) - 1)]
    for line in table:
        padded = [text.ljust(width) for text, width in zip(line, widths, strict=False)]
        print("  ".join([*padded, line[-1]]))
