"""Reading and writing the cohort's tables, tab-separated text."""

import logging
from pathlib import Path

import pandas as pd

from holohisto.runtime import atomic
from holohisto.runtime.tsv import guarded, unguarded

logger = logging.getLogger(__name__)
TEXT = (
    "model",
    "pretrained",
    "reference_pretrained",
    "slide",
    "class",
    "group",
    "subject",
    "split",
    "annotated",
    "matched",
    "level",
    "scope",
    "reference",
    "method",
    "result",
    "note",
    "condition",
)
"""Columns of the cohort's tables that hold text."""


def read_table(path: Path) -> pd.DataFrame:
    """Read a tab-separated table: the columns TEXT as text, all others as float64.

    An absent, empty or broken file gives an empty table, the broken one with a warning; a cell
    that is no number becomes NaN.
    """
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, na_values=[""])
    except FileNotFoundError:
        return pd.DataFrame()
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        logger.warning("%s: left out (%s)", path, error)
        return pd.DataFrame()
    table = table.map(lambda cell: unguarded(cell) if isinstance(cell, str) else cell)
    for column in table.columns.difference(list(TEXT)):
        table[column] = pd.to_numeric(table[column], errors="coerce")
    return table


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as tab-separated text with nine significant digits, atomically.

    Text that a spreadsheet would compute is guarded, see `runtime.tsv`.
    """
    table = table.map(lambda cell: guarded(cell) if isinstance(cell, str) else cell)
    text = table.to_csv(sep="\t", index=False, float_format="%.9g", lineterminator="\n")
    atomic.write_text(path, text)
