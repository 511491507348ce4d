"""The pages explain every column of the tables and of the sheet, and name every verb."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from holohisto.cli import VERBS
from holohisto.report.tables import corrections, token_value
from holohisto.sheet.cells import Row
from holohisto.statistics.comparisons import COMPARISONS
from holohisto.statistics.distributions import DISTRIBUTIONS
from holohisto.statistics.groups import GROUPS
from holohisto.statistics.rows import OBJECTS, SLIDES
from holohisto.statistics.uncertainty import COLUMNS as CORRECT_NEXT
from holohisto.tokenizer.training import TrainingRow
from holohisto.training.progress import ValidationRow

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "outputs.md").read_text()
COLUMNS = {
    "cohort/slides.tsv": SLIDES,
    "cohort/objects.tsv": OBJECTS,
    "cohort/groups.tsv": GROUPS,
    "cohort/comparisons.tsv": COMPARISONS,
    "cohort/distributions.tsv": DISTRIBUTIONS,
    "cohort/correct_next.tsv": CORRECT_NEXT,
    "tables/token_value.tsv": token_value.COLUMNS,
    "tables/corrections.tsv": corrections.COLUMNS,
    "models/{model}/training.tsv": [field.name for field in fields(ValidationRow)],
    "tokenizer/training.tsv": [field.name for field in fields(TrainingRow)],
}


def words(table: str) -> set[str]:
    """Names in the first column of a table's section."""
    section = PAGE.split(f"\n### {table}\n")[1].split("\n### ")[0]
    cells = re.findall(r"^\| (.*?) \|", section, flags=re.M)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


@pytest.mark.parametrize("table", COLUMNS)
def test_every_column_is_explained_and_every_explained_one_is_there(table):
    named, columns = words(table), set(COLUMNS[table])
    if "_sd" in named:  # written once for all measures
        named |= {name.replace("_mean", "_sd") for name in named}
        named.remove("_sd")
    assert named == columns


def test_every_verb_is_named():
    table = (DOCS / "in-another-workflow.md").read_text().split("\n## Single steps\n")[1]
    rows = re.findall(r"^\| (`.*?) \|", table, flags=re.M)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == set(VERBS)


def test_every_column_of_the_sheet_is_explained():
    section = (DOCS / "cohort.md").read_text().split("\n## The sheet\n")[1].split("\n## ")[0]
    columns = [field.name for field in fields(Row) if field.name != "line"]
    assert re.findall(r"^\| `(\w+)`", section, flags=re.M) == columns
