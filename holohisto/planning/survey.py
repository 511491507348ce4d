"""The table that `holohisto check --sheet` prints: one line a slide, then the cost of all."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from holohisto.config.config import Config
from holohisto.errors import HolohistoError
from holohisto.planning.cost import cost_of, summary, token_summary, training_summary
from holohisto.runtime.units import bytes_text, time_text
from holohisto.sheet.cells import Row
from holohisto.slide.mpp import mpp_text
from holohisto.slide.record import SlideRecord

HEADINGS = (
    "slide",
    "split",
    "group",
    "reader",
    "compression",
    "levels",
    "size",
    "mpp",
    "scale",
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
COLOURS = {(255, 255, 255): "white", (0, 0, 0): "black"}


@dataclass(frozen=True)
class SurveyedSlide:
    """A row of the sheet and the record of its slide."""

    row: Row
    record: SlideRecord | None
    """None where the row is excluded or the slide cannot be processed."""
    problem: str | None = None
    """Why the slide cannot be processed."""

    def cells(self, same_image: Sequence[str], settings: Config) -> list[str]:
        """Return the texts of the slide's line, one for each heading.

        Args:
            same_image: Other slides of the sheet with the same image.
            settings: The configuration, which decides the cost.
        """
        row, record = self.row, self.record
        start = [row.slide, row.split, row.group or "-"]
        if record is None:
            status = self.problem or "excluded" + (f": {row.note}" if row.note else "")
            return [*start, *["-"] * (len(HEADINGS) - len(start) - 1), status]
        notes = [f"same image as {', '.join(same_image)}"] if same_image else []
        cost = cost_of(record, row.split, settings)
        return [
            *start,
            record.reader,
            record.compression,
            str(len(record.levels)),
            "{}x{}".format(*record.size),
            f"{mpp_text(record.mpp_xy)} ({record.mpp_source})",
            str(record.scale),
            colour_text(record.background),
            record.annotation["fits"] if record.annotation else "-",
            f"{cost.tokens:,}",
            _dash_for_0(settings.encodings(row.split), str),
            _dash_for_0(cost.token_bytes, bytes_text),
            _dash_for_0(cost.disk_bytes, bytes_text),
            _dash_for_0(cost.seconds.gpu, time_text),
            _dash_for_0(cost.seconds.cpu, time_text),
            "; ".join(["ok", *record.warnings, *notes]),
        ]


def survey(rows: Iterable[Row], inspect: Callable[[Row], SlideRecord]) -> list[SurveyedSlide]:
    """Inspect the slides of a sheet; a slide that cannot be processed does not stop the others.

    Args:
        rows: Rows of the sheet, excluded ones included.
        inspect: Returns the record of a slide, or raises HolohistoError.
    """
    return [_surveyed(row, inspect) for row in rows]


def _surveyed(row: Row, inspect: Callable[[Row], SlideRecord]) -> SurveyedSlide:
    if row.exclude:
        return SurveyedSlide(row, None)
    try:
        return SurveyedSlide(row, inspect(row))
    except HolohistoError as error:
        return SurveyedSlide(row, None, f"ERROR {error}")


def report(slides: Sequence[SurveyedSlide], settings: Config) -> str:
    """Return the table, then lines about the cost of all slides, of token maps and of training."""
    by_image: Mapping[str, list[str]] = defaultdict(list)
    for slide in slides:
        if slide.record is not None:
            by_image[slide.record.fingerprint].append(slide.row.slide)
    lines: list[list[str]] = [list(HEADINGS)]
    for slide in slides:
        same = by_image[slide.record.fingerprint] if slide.record is not None else []
        lines.append(slide.cells([name for name in same if name != slide.row.slide], settings))
    inspected = [(slide.record, slide.row.split) for slide in slides if slide.record is not None]
    costs = [summary(inspected, settings), token_summary(inspected, settings)]
    costs.append(training_summary(settings))
    return "\n".join([*_aligned(lines), *costs])


def _aligned(lines: list[list[str]]) -> list[str]:
    """Pad every column but the last to its longest text."""
    columns = list(zip(*lines, strict=True))[:-1]
    widths = [max(map(len, column)) for column in columns]
    return [
        "  ".join([*map(str.ljust, line[:-1], widths), line[-1]])  # the last one is free
        for line in lines
    ]


def colour_text(rgb: tuple[int, int, int]) -> str:
    """Return white or black if the colour is exactly that, else #rrggbb."""
    return COLOURS.get(rgb, "#{:02x}{:02x}{:02x}".format(*rgb))


def _dash_for_0(number: float, text: Callable[[float], str]) -> str:
    return text(number) if number else "-"
