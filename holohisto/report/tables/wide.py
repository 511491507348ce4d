"""Tables of the report: a row a model, columns in bands, ready to be printed."""

from dataclasses import dataclass, field

from holohisto.report.words import ABSENT


@dataclass(frozen=True)
class Cell:
    """A number, its spread, and what has to be said beside it."""

    text: str
    spread: str = ""
    remark: str = ""
    best: bool = False
    kind: str = ""
    """Class of the style sheet."""


NOTHING = Cell(ABSENT)


@dataclass(frozen=True)
class Head:
    """Heading of a column."""

    text: str
    small: str = ""
    words: bool = False
    """The column holds words, not numbers."""
    first: bool = False
    """A line stands before it."""


@dataclass(frozen=True)
class Line:
    """One model, or one group."""

    name: str
    small: str
    ours: bool
    cells: list[Cell]


@dataclass(frozen=True)
class Wide:
    """A table; `bands` are headings over several columns, as text and number of columns."""

    name: str
    heads: list[Head]
    lines: list[Line]
    bands: list[tuple[str, int]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Sentences under the table."""
