"""What a run left behind, read with patience: whatever is missing is simply not there."""

import gzip
import json
import logging
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from holohisto.sheet.cells import Row
from holohisto.statistics.files import read_table

logger = logging.getLogger(__name__)
FINISHED = re.compile(
    r"^\d\d:\d\d:\d\d INFO \w+: done in (?P<seconds>\d+\.\d+) s(, (?P<megabytes>\d+) MB)?$"
)
"""Last line in the log of a job that succeeded."""


@dataclass(frozen=True)
class Run:
    """One run of the workflow, as the report sees it."""

    rows: dict[str, Row]
    results: Path
    logs: Path
    models: dict[str, dict[str, Any]]
    """Name to options, in the order of the configuration."""
    classes: tuple[str, ...]
    reference: str
    splits: tuple[str, ...]
    """Splits that are segmented."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """Every section of the configuration that the caller knows."""

    def table(self, name: str) -> pd.DataFrame:
        """A table of results/cohort; empty when it is not there."""
        return read_table(self.results / "cohort" / f"{name}.tsv")

    def learned(self, model: str) -> bool:
        """Whether the run itself trains this model."""
        options = self.models[model]
        return options.get("kind") != "masks" and not options.get("weights")

    def geojson(self, model: str, slide: str) -> Path:
        """Outlines of a slide, gzipped where the configuration says so."""
        packed = ".gz" if (self.parameters.get("mask") or {}).get("gzip") else ""
        return self.results / "models" / model / "geojson" / f"{slide}.geojson{packed}"

    @property
    def over_tokens(self) -> list[str]:
        """Models that read tokens."""
        return [
            name
            for name, options in self.models.items()
            if options.get("kind", "holohisto") == "holohisto"
            and options.get("embedding", "tokens") == "tokens"
        ]

    @property
    def online(self) -> bool:
        """Whether tiles are encoded when they are used, so that no token map is kept."""
        return (self.parameters.get("tokens") or {}).get("mode") == "online"

    @property
    def kept(self) -> list[Row]:
        """Slides that the sheet does not exclude."""
        return [row for row in self.rows.values() if not row.exclude]


def rows_of(frame: pd.DataFrame, **values: str) -> pd.DataFrame:
    """Rows in which every named column has the value; none when a column is not there."""
    if not set(values) <= set(frame.columns):
        return frame.iloc[:0]
    for column, value in values.items():
        frame = frame[frame[column] == value]
    return frame


def column(frame: pd.DataFrame, name: str) -> list[float]:
    """Numbers of a column without its gaps; empty when it is not there."""
    return [] if name not in frame else [float(value) for value in frame[name].dropna()]


def record(path: Path) -> dict[str, Any]:
    """A JSON object, gzipped or not; empty when absent or broken."""
    try:
        packed = path.suffix == ".gz"
        value = json.loads(gzip.decompress(path.read_bytes()) if packed else path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, EOFError, ValueError, zlib.error) as error:
        logger.warning("%s: left out (%s)", path, error)
        return {}
    return value if isinstance(value, dict) else {}


def all_there(paths: Iterable[Path]) -> bool:
    """Whether all files exist."""
    return all(path.exists() for path in paths)
