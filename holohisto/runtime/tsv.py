"""Tables of dataclass rows as tab-separated text."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from holohisto.runtime import atomic


def write_tsv(rows: Sequence[Any], kind: type, path: Path) -> None:
    """Write rows of the dataclass `kind`, with its fields as the header, atomically."""
    text = io.StringIO()
    names = [field.name for field in fields(kind)]
    writer = csv.DictWriter(text, names, delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    atomic.write_text(path, text.getvalue())
