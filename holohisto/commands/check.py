"""`holohisto check`: tell whether a slide, or a whole sheet, can be processed, and its cost."""

import argparse
import logging
from dataclasses import dataclass
from pathlib import Path

from holohisto import atomic, config, progress, sheet
from holohisto.annotation import Annotation
from holohisto.check import SlideRecord, inspect
from holohisto.config import CheckOptions, Classes, ClassOptions, Config, from_json
from holohisto.errors import HolohistoError

logger = logging.getLogger(__name__)

HEADINGS = ("slide", "split", "group", "reader", "size", "mpp", "factor", "tokens", "status")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", type=Path, nargs="?", metavar="IMAGE", help="one slide")
    parser.add_argument("--slide", metavar="ID", help="its id")
    parser.add_argument("--annotation", type=Path, metavar="FILE", help="its annotation")
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
        "--config", type=Path, default=Path("config/config.yaml"), help="for --sheet"
    )


def run(arguments: argparse.Namespace) -> None:
    if arguments.sheet is not None:
        if arguments.image is not None:
            raise HolohistoError("check", "takes an IMAGE or --sheet, not both")
        _check_sheet(arguments.sheet, arguments.config)
        return
    if arguments.image is None or arguments.slide is None or arguments.output is None:
        raise HolohistoError("check", "needs IMAGE, --slide and --output, or --sheet")
    row = sheet.Row(
        slide=arguments.slide,
        image=arguments.image,
        split="predict",
        annotation=arguments.annotation,
        mpp=arguments.slide_mpp,
    )
    record = _inspect(row, arguments.options, arguments.classes)
    for warning in record.warnings:
        logger.warning("slide %s: %s", record.slide, warning)
    atomic.write_text(arguments.output, record.text())


def _inspect(
    row: sheet.Row, options: CheckOptions, classes: dict[str, ClassOptions]
) -> SlideRecord:
    """The record of one slide, its annotation looked into as well."""
    record = inspect(row.slide, row.image, row.annotation, row.mpp, options)
    if row.annotation is None or not classes:
        return record
    with Annotation(row.annotation, classes, record.size, record.factor) as annotation:
        if not annotation.is_empty():
            return record
    warning = "the annotation shows none of the classes; if wrong, set `classes.<name>.values`"
    return record.model_copy(update={"warnings": [*record.warnings, warning]})


@dataclass(frozen=True)
class _Finding:
    """One line of the cohort's table."""

    row: sheet.Row
    record: SlideRecord | None
    problem: str | None = None

    def cells(self, twins: dict[str, list[str]]) -> list[str]:
        """The texts of the line; `twins` has slide ids by fingerprint."""
        row, record = self.row, self.record
        start = [row.slide, row.split, row.group or "-"]
        if record is None:
            status = self.problem or "excluded" + (f": {row.note}" if row.note else "")
            return [*start, "-", "-", "-", "-", "-", status]
        notes = list(record.warnings)
        same = [slide for slide in twins[record.fingerprint] if slide != row.slide]
        if same:
            notes.append(f"same image as {', '.join(same)}")
        return [
            *start,
            record.reader,
            "{}x{}".format(*record.size),
            f"{record.mpp:.4g} ({record.mpp_source})",
            str(record.factor),
            f"{record.estimates['tokens']:,}",
            "; ".join(["ok", *notes]),
        ]


def _check_sheet(path: Path, config_path: Path) -> None:
    """Print one line per slide; raise at the end if any cannot be processed."""
    settings = config.read(config_path) if config_path.exists() else Config()
    rows = sheet.read(path, tuple(settings.classes))
    findings = [
        _finding(row, settings)
        for row in progress.track(rows.values(), len(rows), "checking", "slide")
    ]
    twins: dict[str, list[str]] = {}
    for finding in findings:
        if finding.record is not None:
            twins.setdefault(finding.record.fingerprint, []).append(finding.row.slide)
    _print_table([finding.cells(twins) for finding in findings])
    _print_totals([finding.record for finding in findings if finding.record])
    bad = [finding.row.slide for finding in findings if finding.problem]
    if bad:
        raise HolohistoError(
            path, f"{len(bad)} of {len(rows)} slides cannot be processed: {', '.join(bad)}",
            advice="mend them, or mark them in the column `exclude`",
        )  # fmt: skip


def _finding(row: sheet.Row, settings: Config) -> _Finding:
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


def _print_totals(records: list[SlideRecord]) -> None:
    def total(name: str) -> float:
        return sum(record.estimates[name] for record in records)

    print(
        f"{len(records)} slides to process: {total('tokens'):,.0f} tokens at f = 16,"
        f" about {total('disk_bytes') / 1e9:.2f} GB of results per model,"
        f" about {total('seconds') / 60:.0f} min on one GPU"
    )
