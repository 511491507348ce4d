"""The sample sheet: one row a slide, every mistake reported at once."""

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from holohisto.errors import HolohistoError, SeveralErrors

SLIDE_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
SPLITS = ("train", "val", "test", "predict")
REQUIRED = ("slide", "image", "split")
OPTIONAL = (
    "annotation", "group", "subject", "mpp", "threshold", "annotated", "exclude", "note",
)  # fmt: skip
RESERVED_GROUPS = ("all", "pooled")  # rows of the cohort tables
TRUE, FALSE = ("1", "true", "yes", "x"), ("", "0", "false", "no")


@dataclass(frozen=True)
class Row:
    """One slide of the cohort."""

    slide: str
    """Id; becomes part of file names."""
    image: Path
    split: str
    """train, val, test or predict."""
    annotation: Path | None = None
    group: str | None = None
    subject: str | None = None
    mpp: float | None = None
    """Level-0 micrometres per pixel, over what the file says."""
    threshold: float | None = None
    """Foreground saturation of this slide, 0 to 1."""
    annotated: tuple[str, ...] | None = None
    """Classes annotated on this slide; the others are unknown. None: all."""
    exclude: bool = False
    note: str = ""


def read(path: Path, classes: tuple[str, ...] | None = None) -> dict[str, Row]:
    """Read a tab-separated sheet into rows by slide id, in the sheet's order.

    Excluded rows are kept, with `exclude` set. Group names that differ only in case are one
    group, spelled as where it first stands.

    Args:
        path: The sheet.
        classes: Names allowed in the column `annotated`; None allows any.

    Raises:
        HolohistoError: every mistake, one line each, with line number and column.
    """
    table = _table(path)
    mistakes = _column_mistakes(path, list(table.columns))
    if mistakes:
        raise SeveralErrors(mistakes)
    rows: dict[str, Row] = {}
    groups: dict[str, str] = {}
    lines: dict[str, int] = {}
    for line, cells in zip(range(2, len(table) + 2), table.to_dict("records"), strict=True):
        reader = _Cells(path, line, {str(k): str(v).strip() for k, v in cells.items()}, mistakes)
        row = reader.row(groups, classes)
        if row is None:
            continue
        first = lines.setdefault(row.slide.lower(), line)  # on some file systems a.tif is A.tif
        if first != line:
            mistakes.append(
                f"{path}: line {line}, column slide: id {row.slide!r} is already on line"
                f" {first}; every slide needs its own id"
            )
            continue
        rows[row.slide] = row
    mistakes += _leaks(path, rows, lines)
    if not table.empty and not mistakes and all(row.exclude for row in rows.values()):
        mistakes.append(f"{path}: column exclude: every slide is excluded; leave one at least")
    if mistakes:
        raise SeveralErrors(mistakes)
    return rows


def _table(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, comment=None)
    except OSError as error:
        raise HolohistoError(
            path, f"sample sheet cannot be read: {error.strerror}",
            advice="make one with `holohisto init folder DIR` or set `slides:` in the config",
        ) from error  # fmt: skip
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise HolohistoError(path, f"is not a tab-separated table: {error}") from error
    if table.empty:
        raise HolohistoError(path, "has no rows", advice="add one row per slide")
    if not isinstance(table.index, pd.RangeIndex):
        raise HolohistoError(path, "rows have more cells than the header has columns")
    return table


def _column_mistakes(path: Path, columns: list[str]) -> list[str]:
    known = REQUIRED + OPTIONAL
    mistakes = [
        f"{path}: line 1, column {column}: unknown column; allowed {', '.join(known)}"
        for column in columns
        if column not in known
    ]
    mistakes += [
        f"{path}: line 1, column {column}: missing; the sheet must be tab-separated and have it"
        for column in REQUIRED
        if column not in columns
    ]
    return mistakes


def _leaks(path: Path, rows: dict[str, Row], lines: dict[str, int]) -> list[str]:
    """Tell subjects in two splits; `lines` are by lower-case id."""
    splits: dict[str, dict[str, int]] = defaultdict(dict)
    for row in rows.values():
        if row.subject and not row.exclude and row.split != "predict":
            splits[row.subject].setdefault(row.split, lines[row.slide.lower()])
    return [
        f"{path}: column subject: subject {subject!r} is in several splits ("
        + ", ".join(f"{split} on line {line}" for split, line in places.items())
        + "); keep all slides of a subject in one split"
        for subject, places in splits.items()
        if len(places) > 1
    ]


@dataclass
class _Cells:
    """The cells of one line, read one by one; mistakes are collected, not raised."""

    path: Path
    line: int
    cells: dict[str, str]
    mistakes: list[str]

    def row(self, groups: dict[str, str], classes: tuple[str, ...] | None) -> Row | None:
        before = len(self.mistakes)
        group = self.cells.get("group", "")
        row = Row(
            slide=self._slide(),
            image=Path(self._required("image")),
            split=self._split(),
            annotation=Path(cell) if (cell := self.cells.get("annotation", "")) else None,
            group=groups.setdefault(group.lower(), group) if group else None,
            subject=self.cells.get("subject") or None,
            mpp=self._number("mpp", 0.01, 100.0),
            threshold=self._number("threshold", 0.0, 1.0),
            annotated=self._annotated(classes),
            exclude=self._flag("exclude"),
            note=self.cells.get("note", ""),
        )
        if group.lower() in RESERVED_GROUPS:
            self._mistake("group", f"{group!r} is reserved for the tables", "any other name")
        if row.split in ("train", "val") and row.annotation is None and not row.exclude:
            self._mistake("annotation", f"empty, but the split is {row.split}", "a path")
        return row if len(self.mistakes) == before else None

    def _mistake(self, column: str, problem: str, allowed: str) -> None:
        self.mistakes.append(
            f"{self.path}: line {self.line}, column {column}: {problem}; allowed {allowed}"
        )

    def _required(self, column: str) -> str:
        cell = self.cells[column]
        if not cell:
            self._mistake(column, "empty", "a value on every line")
        return cell

    def _slide(self) -> str:
        cell = self._required("slide")
        if cell and not SLIDE_ID.match(cell):
            self._mistake("slide", f"id {cell!r} cannot be a file name", SLIDE_ID.pattern)
        elif cell.lower() == "cohort":
            self._mistake("slide", "id 'cohort' is reserved", "any other id")
        return cell

    def _split(self) -> str:
        cell = self._required("split")
        if cell and cell not in SPLITS:
            self._mistake("split", f"found {cell!r}", ", ".join(SPLITS))
        return cell

    def _number(self, column: str, low: float, high: float) -> float | None:
        cell = self.cells.get(column, "")
        if not cell:
            return None
        try:
            number = float(cell)
        except ValueError:
            number = float("nan")
        if not low <= number <= high:
            self._mistake(column, f"found {cell!r}", f"a number from {low} to {high}")
        return number

    def _flag(self, column: str) -> bool:
        cell = self.cells.get(column, "").lower()
        if cell not in TRUE + FALSE:
            self._mistake(column, f"found {cell!r}", "yes, or nothing")
        return cell in TRUE

    def _annotated(self, classes: tuple[str, ...] | None) -> tuple[str, ...] | None:
        cell = self.cells.get("annotated", "")
        if not cell:
            return None
        names = tuple(name.strip() for name in cell.split(",") if name.strip())
        for name in names:
            if classes is not None and name not in classes:
                self._mistake("annotated", f"unknown class {name!r}", ", ".join(classes))
        return names
