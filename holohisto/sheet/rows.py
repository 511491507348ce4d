"""The sample sheet: one row a slide, every mistake reported at once."""

import csv
import io
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from holohisto.errors import HolohistoError, SeveralErrors
from holohisto.sheet.cells import Cells, Row

REQUIRED = ("slide", "image", "split")
OPTIONAL = (
    "annotation",
    "group",
    "subject",
    "mpp",
    "saturation",
    "annotated",
    "exclude",
    "note",
)
RENAMED = {"threshold": "saturation"}
"""Columns that have another name now."""
OUTLINES = (".geojson", ".geojson.gz")  # annotations of QuPath


def read_sheet(path: Path, classes: tuple[str, ...] | None = None) -> dict[str, Row]:
    """Read a tab-separated sheet into rows by slide id, in the sheet's order.

    Excluded rows are kept, with `exclude` set. Groups, and subjects, whose names differ only in
    case are one, spelled as where it first stands. Lines of blank cells are skipped.

    Args:
        path: The sheet.
        classes: Names allowed in the column `annotated`; None allows any.

    Raises:
        HolohistoError: every mistake, one line each, with line number and column.
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


def is_outlines(path: Path) -> bool:
    """Tell whether an annotation is QuPath's GeoJSON, by its name; else it is a picture."""
    return path.name.lower().endswith(OUTLINES)


def missing_files(path: Path, rows: Iterable[Row]) -> list[str]:
    """Tell the files that rows name and that are not there, one line each.

    Costs one `stat` a file; excluded rows are passed over.
    """
    files = [
        (f"{path}: line {row.line}, column {column}", file)
        for row in rows
        for column, file in (("image", row.image), ("annotation", row.annotation))
        if file is not None and not row.exclude
    ]
    return [f"{where}: no such file: {file}" for where, file in files if not os.path.exists(file)]


def _table(path: Path) -> dict[int, list[str]]:
    """Stripped cells of all lines by line number, all of one length."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if not text.strip():
            raise pd.errors.EmptyDataError("it is empty")
        width = max(line.count("\t") for line in text.split("\n")) + 1
        # Quotes are for _plain: an open one would swallow lines, and line numbers with them.
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
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise HolohistoError(path, f"is not a tab-separated table: {error}") from error
    table.index += 1
    lines = {line: cells for line, *cells in table.itertuples(name=None)}
    open_quotes = [
        f"{path}: line {line}, cell {place}: a quote is opened, but not closed on this line"
        for line, cells in lines.items()
        for place, cell in enumerate(cells, 1)
        if cell.startswith('"') and cell.count('"') % 2
    ]
    if open_quotes:
        raise SeveralErrors(open_quotes)
    return {line: [_plain(cell) for cell in cells] for line, cells in lines.items()}


def _plain(cell: str) -> str:
    """The cell without the blanks and quotes around it; in quotes, "" means "."""
    quoted = re.fullmatch(r'"((?:[^"]|"")*)"', cell.strip())
    return quoted[1].replace('""', '"').strip() if quoted else cell.strip()


def _under(header: list[str], cells: list[str]) -> dict[str, str]:
    """Cells by column, the first of two of one name; '' has what is under no name."""
    found = {"": ""}
    for column, cell in zip(header, cells, strict=True):
        if column:
            found.setdefault(column, cell)
        else:
            found[""] = found[""] or cell
    return found


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
    """Tell subjects, and images, of which a model would be tested on what it was trained on."""
    subjects: dict[str, dict[str, int]] = defaultdict(dict)
    images: dict[str, dict[str, int]] = defaultdict(dict)
    for row in rows:
        if row.exclude or row.split == "predict":
            continue
        images[os.path.abspath(row.image)].setdefault(row.split, row.line)
        if row.subject:
            subjects[row.subject].setdefault(row.split, row.line)
    for column, splits in (("image", images), ("subject", subjects)):
        for name, places in splits.items():
            if len(places) > 1:
                where = ", ".join(f"{split} on line {line}" for split, line in places.items())
                yield (
                    f"{path}: column {column}: {column} {name!r} is in several splits ({where});"
                    f" keep all slides of one {column} in one split"
                )
