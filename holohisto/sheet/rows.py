"""Read the sample sheet: one row per slide; all mistakes are reported together."""

import csv
import io
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from holohisto.errors import HolohistoError, SeveralErrors
from holohisto.runtime.paths import is_readable_kind
from holohisto.runtime.tsv import unguarded
from holohisto.sheet.annotations import is_drawn
from holohisto.sheet.cells import Cells, Row

REQUIRED = ("slide", "image", "split")
OPTIONAL = (
    "annotation",
    "corrected_from",
    "group",
    "subject",
    "mpp",
    "saturation",
    "annotated",
    "exclude",
    "note",
)
RENAMED = {"threshold": "saturation"}
"""Former names of columns."""


def read_sheet(path: Path, classes: tuple[str, ...] | None = None) -> dict[str, Row]:
    """Read a tab-separated sheet into rows by slide id, in the sheet's order.

    Excluded rows are kept, with `exclude` set. Groups or subjects whose names differ only in case
    are the same, in the spelling of the first. Lines of blank cells are skipped.

    Args:
        path: The sheet.
        classes: Names allowed in the column `annotated`; None allows any.

    Raises:
        HolohistoError: the sheet cannot be read.
        SeveralErrors: all mistakes, one line each, with line number and column.
    """
    table = _table(path)
    header, *body = [line for line, cells in table.items() if any(cells)] or [1]
    mistakes = _column_mistakes(path, header, table[header])
    if not set(REQUIRED) <= set(table[header]):
        raise SeveralErrors(mistakes)
    if not body:
        raise SeveralErrors([*mistakes, f"{path}: has no rows; add one row per slide"])
    rows: dict[str, Row] = {}
    spellings: dict[tuple[str, str], str] = {}
    lines: dict[str, int] = {}
    for line in body:
        cells = _under(table[header], table[line])
        row = Cells(path, line, cells, mistakes).row(spellings, classes)
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
    mistakes += _leaks(path, rows.values())
    if not mistakes and all(row.exclude for row in rows.values()):
        mistakes.append(f"{path}: column exclude: every slide is excluded; leave one at least")
    if mistakes:
        raise SeveralErrors(mistakes)
    return rows


def missing_files(path: Path, rows: Iterable[Row]) -> list[str]:
    """Return one line for each missing image, annotation or delivered file of the rows.

    Costs one `stat` per file; excluded rows are skipped.

    Args:
        path: The sheet, for the messages.
        rows: Its rows.
    """
    files = [
        (f"{path}: line {row.line}, column {column}", file)
        for row in rows
        for column in ("image", "annotation", "corrected_from")
        for file in [getattr(row, column)]
        if file is not None and not row.exclude
    ]
    return [
        f"{where}: no such file: {file}"
        if not os.path.exists(file)
        else f"{where}: is a pipe or device, not a file: {file}"
        for where, file in files
        if not is_readable_kind(file)
    ]


def drawn_files(rows: Iterable[Row]) -> list[Path]:
    """Return the annotations that may be corrected outlines, and the outlines as delivered."""
    files = [row.annotation for row in rows if row.annotation and is_drawn(row.annotation)]
    return files + [row.corrected_from for row in rows if row.corrected_from]


def _table(path: Path) -> dict[int, list[str]]:
    """Stripped cells of all lines by line number, every line of the same length."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if not text.strip():
            raise pd.errors.EmptyDataError("it is empty")
        width = max(line.count("\t") for line in text.split("\n")) + 1
        # Quotes are left to _plain: an open one would join lines and shift line numbers.
        table = pd.read_csv(
            io.StringIO(text),
            sep="\t",
            header=None,
            names=range(width),
            index_col=False,
            dtype=str,
            na_filter=False,
            skip_blank_lines=False,
            quoting=csv.QUOTE_NONE,
        )
    except OSError as error:
        raise HolohistoError(
            path,
            f"sample sheet cannot be read: {error.strerror}",
            advice="make one with `holohisto init folder DIR` or set `slides:` in the config",
        ) from error
    except UnicodeDecodeError as error:
        raise HolohistoError(
            path,
            "is not a tab-separated table in UTF-8",
            found=error.reason,
            advice="save it as UTF-8 text, separated by tabs",
        ) from error
    except (ValueError, OverflowError, MemoryError) as error:  # pandas' own errors are ValueErrors
        raise HolohistoError(path, f"is not a tab-separated table: {error}") from error
    table.index += 1
    lines = {line: cells for line, *cells in table.itertuples(name=None)}
    open_quotes = [
        f"{path}: line {line}, cell {column}: a quote is opened, but not closed on this line"
        for line, cells in lines.items()
        for column, cell in enumerate(cells, 1)
        if cell.startswith('"') and cell.count('"') % 2
    ]
    if open_quotes:
        raise SeveralErrors(open_quotes)
    return {line: [_plain(cell) for cell in cells] for line, cells in lines.items()}


def _plain(cell: str) -> str:
    """The cell without surrounding blanks and quotes; within quotes, "" stands for "."""
    quoted = re.fullmatch(r'"((?:[^"]|"")*)"', cell.strip())
    return unguarded(quoted[1].replace('""', '"').strip() if quoted else cell.strip())


def _under(header: list[str], cells: list[str]) -> dict[str, str]:
    """Cells by column, the first of equal names; '' has the first cell under no name."""
    named = {"": ""}
    for column, cell in zip(header, cells, strict=True):
        if column:
            named.setdefault(column, cell)
        else:
            named[""] = named[""] or cell
    return named


def _column_mistakes(path: Path, line: int, header: list[str]) -> list[str]:
    where, known = f"{path}: line {line}, column", REQUIRED + OPTIONAL
    names = [name for name in dict.fromkeys(header) if name]
    unknown = [name for name in names if name not in known]
    mistakes = [
        f"{where} {n}: is called {RENAMED[n]} now; rename it"
        if n in RENAMED
        else f"{where} {n}: unknown column; allowed {', '.join(known)}"
        for n in unknown
    ]
    mistakes += [f"{where} {n}: is there more than once" for n in names if header.count(n) > 1]
    return mistakes + [
        f"{where} {name}: missing; the sheet must be tab-separated and have it"
        for name in REQUIRED
        if name not in names
    ]


def _leaks(path: Path, rows: Iterable[Row]) -> Iterator[str]:
    """Yield a mistake for each image or subject that is in several splits."""
    subjects: dict[str, dict[str, int]] = defaultdict(dict)
    images: dict[str, dict[str, int]] = defaultdict(dict)
    for row in rows:
        if row.exclude or row.split == "predict":
            continue
        images[os.path.realpath(row.image)].setdefault(row.split, row.line)
        if row.subject:
            subjects[row.subject].setdefault(row.split, row.line)
    for column, splits in (("image", images), ("subject", subjects)):
        for name, lines in splits.items():
            if len(lines) > 1:
                where = ", ".join(f"{split} on line {line}" for split, line in lines.items())
                yield (
                    f"{path}: column {column}: {column} {name!r} is in several splits ({where});"
                    f" keep all slides of one {column} in one split"
                )
