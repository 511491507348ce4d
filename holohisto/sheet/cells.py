"""Check the cells of one line of the sample sheet and return them as a row."""

import re
from dataclasses import dataclass
from pathlib import Path

from holohisto.runtime.paths import ALLOWED, unfit

SLIDE_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""Characters that no cell has: a terminal or a log would act on them."""
LONGEST_ID = 100
"""Characters of a slide's id, which is part of file names."""
MPP_LIMITS = (0.01, 100.0)
"""Smallest and largest resolution of a slide, micrometres per pixel of level 0."""
SPLITS = ("train", "val", "test", "predict")
PATHS = ("image", "annotation", "corrected_from")
RESERVED_GROUPS = ("all", "pooled")
"""Names of rows in the cohort tables, which no group may have."""
TRUE, FALSE = ("1", "true", "yes", "x"), ("", "0", "false", "no")


def id_problem(slide: str) -> str | None:
    """Return why a text is no id of a slide; None where it is one."""
    if not SLIDE_ID.fullmatch(slide):
        return "cannot be a file name"
    return f"is longer than {LONGEST_ID} characters" if len(slide) > LONGEST_ID else None


@dataclass(frozen=True)
class Row:
    """One slide of the cohort."""

    slide: str
    """Id, which becomes part of file names."""
    image: Path
    split: str
    """train, val, test or predict."""
    annotation: Path | None = None
    corrected_from: Path | None = None
    """The delivered outlines of which the annotation is a correction."""
    group: str | None = None
    subject: str | None = None
    mpp: float | None = None
    """Micrometres per pixel of level 0, which replace the file's own value."""
    saturation: float | None = None
    """Saturation of this slide's tissue, 0 to 1."""
    annotated: tuple[str, ...] | None = None
    """Classes annotated on this slide; all others are unknown there. None: all classes."""
    exclude: bool = False
    note: str = ""
    line: int = 0
    """Line in the sheet's file, from 1; 0 for a row that is from no sheet."""


@dataclass
class Cells:
    """The cells of one line; mistakes are appended to a list instead of raised."""

    path: Path
    line: int
    cells: dict[str, str]
    mistakes: list[str]

    def row(
        self, spellings: dict[tuple[str, str], str], classes: tuple[str, ...] | None
    ) -> Row | None:
        """Return the row, or None where a cell is wrong.

        Args:
            spellings: First spelling of each name, by column and lower-case name; extended.
            classes: Names allowed in the column `annotated`; None allows any.
        """
        before = len(self.mistakes)
        if extra := self.cells.pop(""):
            self.mistakes.append(
                f"{self.path}: line {self.line}: has more cells than the header has columns:"
                f" {extra!r} is under no column"
            )
        for column, cell in self.cells.items():
            control = CONTROL.search(cell)
            if control and column not in PATHS:  # paths have rules of their own
                self._mistake(column, f"{cell!r} has {control[0]!r} in it", "printable text")
        group = self.cells.get("group", "")
        row = Row(
            slide=self._slide(),
            image=Path(self._path("image", self._required("image"))),
            split=self._split(),
            annotation=self._optional_path("annotation"),
            corrected_from=self._corrected_from(),
            group=self._name("group", spellings),
            subject=self._name("subject", spellings),
            mpp=self._number("mpp", *MPP_LIMITS),
            saturation=self._number("saturation", 0.0, 1.0),
            annotated=self._annotated(classes),
            exclude=self._flag("exclude"),
            note=self.cells.get("note", ""),
            line=self.line,
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

    def _path(self, column: str, cell: str) -> str:
        if problem := unfit(cell):
            self._mistake(column, f"{cell!r} has {problem}", ALLOWED)
        return cell

    def _optional_path(self, column: str) -> Path | None:
        cell = self.cells.get(column, "")
        return Path(self._path(column, cell)) if cell else None

    def _corrected_from(self) -> Path | None:
        """The delivered outlines, which must outlast the next run."""
        path = self._optional_path("corrected_from")
        if path is None:
            return None
        if not self.cells.get("annotation"):
            self._mistake("corrected_from", "there is no annotation that corrects it", "nothing")
        if not path.is_absolute() and path.parts[0] == "results":
            self._mistake(
                "corrected_from",
                f"{str(path)!r} will be written again by a run",
                "a copy of it outside results/",
            )
        return path

    def _name(self, column: str, spellings: dict[tuple[str, str], str]) -> str | None:
        """The name in the spelling of its first occurrence; None where the cell is empty."""
        name = self.cells.get(column, "")
        return spellings.setdefault((column, name.lower()), name) or None

    def _required(self, column: str) -> str:
        cell = self.cells[column]
        if not cell:
            self._mistake(column, "empty", "a value on every line")
        return cell

    def _slide(self) -> str:
        cell = self._required("slide")
        if cell and (problem := id_problem(cell)):
            self._mistake("slide", f"id {cell!r} {problem}", SLIDE_ID.pattern)
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
