"""Read a run's results; missing or broken files give empty tables, never an error."""

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

from holohisto.errors import HolohistoError
from holohisto.runtime.results import Results
from holohisto.runtime.seal import without_seal
from holohisto.sheet.cells import Row
from holohisto.statistics.files import read_table

logger = logging.getLogger(__name__)
FINISHED = re.compile(
    r"^\d\d:\d\d:\d\d INFO \w+: done in (?P<seconds>\d+\.\d+) s(, (?P<megabytes>\d+) MB)?$"
)
"""Last line in the log of a job that succeeded."""


@dataclass(frozen=True)
class Run:
    """One run of the workflow: its sheet, configuration and folders."""

    rows: dict[str, Row]
    results: Results
    logs: Path
    models: dict[str, dict[str, Any]]
    """Name to options, in the order of the configuration."""
    classes: tuple[str, ...]
    reference: str
    splits: tuple[str, ...]
    """Splits that are segmented."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """Sections of the configuration, by name; may be incomplete."""

    def table(self, name: str) -> pd.DataFrame:
        """A table of results/cohort; empty if absent or broken."""
        return read_table(self.results.table(name))

    def learned(self, model: str) -> bool:
        """Whether the run itself trains this model."""
        options = self.models[model]
        return options.get("kind") != "masks" and not options.get("weights")

    def geojson(self, model: str, slide: str) -> Path:
        """Outlines of a slide (GeoJSON), gzipped if the configuration asks for it."""
        gzipped = bool((self.parameters.get("mask") or {}).get("gzip"))
        return self.results.geojson(model, slide, gzipped)

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
        """Whether tiles are encoded during training, so that there are no token maps."""
        return (self.parameters.get("tokens") or {}).get("mode") == "online"

    @property
    def kept(self) -> list[Row]:
        """Slides that the sheet does not exclude."""
        return [row for row in self.rows.values() if not row.exclude]


def rows_of(frame: pd.DataFrame, **values: str) -> pd.DataFrame:
    """Rows in which every named column has the given value; no rows if a column is absent."""
    if not set(values) <= set(frame.columns):
        return frame.iloc[:0]
    for column, value in values.items():
        frame = frame[frame[column] == value]
    return frame


def column(frame: pd.DataFrame, name: str) -> list[float]:
    """Numbers of a column without NaN; empty if the column is absent."""
    return [] if name not in frame else [float(value) for value in frame[name].dropna()]


def record(path: Path) -> dict[str, Any]:
    """A JSON object, gzipped or not; empty if absent or broken, the latter with a warning.

    One that has changed since its digest was written is broken, too.
    """
    try:
        packed = path.suffix == ".gz"
        value = json.loads(gzip.decompress(path.read_bytes()) if packed else path.read_text())
        return without_seal(path, value) if isinstance(value, dict) else {}
    except FileNotFoundError:
        return {}
    except HolohistoError as error:
        logger.warning("left out: %s", error)
    except (OSError, EOFError, ValueError, RecursionError, zlib.error) as error:
        logger.warning("%s: left out (%s)", path, error)
    return {}


def all_exist(paths: Iterable[Path]) -> bool:
    """Whether all files exist."""
    return all(path.exists() for path in paths)
