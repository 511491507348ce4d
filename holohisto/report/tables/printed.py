"""Tables of the report: one line per model, columns in bands, as text for the template."""

from dataclasses import dataclass, field

from holohisto.report.words import ABSENT


@dataclass(frozen=True)
class Cell:
    """A number with its spread and a remark, both in small print."""

    text: str
    spread: str = ""
    remark: str = ""
    best: bool = False
    kind: str = ""
    """CSS class."""


NOTHING = Cell(ABSENT)


@dataclass(frozen=True)
class Head:
    """Heading of a column."""

    text: str
    small: str = ""
    words: bool = False
    """The column holds words, not numbers."""
    first: bool = False
    """A rule separates the column from the one before."""


@dataclass(frozen=True)
class TableLine:
    """One model, or one group."""

    name: str
    small: str
    ours: bool
    cells: list[Cell]


@dataclass(frozen=True)
class PrintedTable:
    """A table; `bands` are headings over several columns, as text and number of columns."""

    name: str
    heads: list[Head]
    lines: list[TableLine]
    bands: list[tuple[str, int]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Sentences under the table."""
