"""Tables of dataclass rows as tab-separated text."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from holohisto.runtime import atomic

PLAIN = re.compile(r"-?|[+-]?[0-9][0-9.,eE%+-]*|-?(inf|nan)")
"""Cells that begin like a formula but are none: numbers, and a dash for nothing."""


def guarded(cell: str) -> str:
    """Return a cell that spreadsheets do not compute: '= + - @' at its start after a quote.

    Numbers stay as they are. `unguarded` takes the quote off.
    """
    return f"'{cell}" if cell[:1] in tuple("=+-@") and not PLAIN.fullmatch(cell) else cell


def unguarded(cell: str) -> str:
    """Return a cell without the quote that `guarded` put before it."""
    return cell[1:] if cell[:1] == "'" and guarded(cell[1:]) == cell else cell


def write_tsv(rows: Sequence[Any], kind: type, path: Path) -> None:
    """Write rows of the dataclass `kind`, with its fields as the header, atomically."""
    text = io.StringIO()
    names = [field.name for field in fields(kind)]
    writer = csv.DictWriter(text, names, delimiter="\t", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        cells = asdict(row)
        writer.writerow({k: guarded(v) if isinstance(v, str) else v for k, v in cells.items()})
    atomic.write_text(path, text.getvalue())
