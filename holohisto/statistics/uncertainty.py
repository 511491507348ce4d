"""How unsure a model is of a slide, from the files that `infer` wrote: which to correct next."""

import json
import logging
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from holohisto.errors import HolohistoError
from holohisto.pyramid.raster import Raster
from holohisto.runtime.results import Results
from holohisto.runtime.seal import without_seal
from holohisto.sheet.cells import Row
from holohisto.statistics.rows import group_of

logger = logging.getLogger(__name__)
LEAST = 0.25
"""Probability below which a cell of the map is background of which the model is sure."""
FOUND = 0.5
"""Probability from which a cell counts as found."""
COLUMNS = (
    "rank",
    "slide",
    "group",
    "split",
    "model",
    "uncertainty",
    "probability_uncertainty",
    "seam_disagreement",
    "probability",
)


@dataclass(frozen=True)
class Uncertainty:
    """How unsure a model is of a slide; nan where nothing was found to be unsure of."""

    probability_uncertainty: float
    """Mean of 4 p (1 - p) over the cells of the probability map with p >= LEAST: the objects, their
    borders, and what was nearly found. 0: sure, 1: undecided."""
    seam_disagreement: float
    """Share of the class pixels along borders of tiles on which overlapping tiles differ."""
    probability: float
    """Mean p of the cells with p >= FOUND."""

    @property
    def uncertainty(self) -> float:
        """Mean of the two measures, or the only known one."""
        both = [self.probability_uncertainty, self.seam_disagreement]
        known = [value for value in both if not math.isnan(value)]
        return sum(known) / len(known) if known else math.nan


def of_probabilities(counts: np.ndarray, seam_disagreement: float = math.nan) -> Uncertainty:
    """Measure a probability map by its histogram.

    Args:
        counts: (256,) number of cells with each value, 255 for p = 1.
        seam_disagreement: Of the same slide.
    """
    p = np.arange(256) / 255
    unsure = _mean(4 * p * (1 - p), np.where(p >= LEAST, counts, 0))
    return Uncertainty(unsure, seam_disagreement, _mean(p, np.where(p >= FOUND, counts, 0)))


def slide_uncertainty(results: Results, model: str, slide: str) -> Uncertainty:
    """Measure how unsure a model is of a slide.

    Raises:
        HolohistoError: the probability map is missing or damaged.
    """
    counts = np.zeros(256, np.int64)
    with Raster(results.probability(model, slide), sealed=True) as raster:
        for band in raster.rows():
            counts += np.bincount(band.ravel(), minlength=256)
    return of_probabilities(counts, seam_disagreement(results.inference(model, slide)))


def seam_disagreement(facts: Path) -> float:
    """Disagreement of overlapping tiles over all classes, from the facts of `infer`.

    nan where tiles do not overlap, nothing was found along their borders, or there is no such file.

    Raises:
        HolohistoError: the file has changed since it was written.
    """
    try:
        fields = without_seal(facts, json.loads(facts.read_text()))
        seams: dict[str, dict[str, Any]] = fields.get("seam") or {}
        differing, either = (
            sum(int(counts[key]) for counts in seams.values()) for key in ("differing", "either")
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return math.nan
    return differing / either if either else math.nan


def ranking(rows: Iterable[Row], results: Results, model: str) -> pd.DataFrame:
    """Rank slides by the uncertainty of a model, the least sure one first.

    Slides on which nothing was found come last, without an uncertainty; slides without a
    probability map are left out with a warning.
    """
    found = []
    for row in rows:
        try:
            own = slide_uncertainty(results, model, row.slide)
        except HolohistoError as error:
            logger.warning("%s: not ranked (%s)", row.slide, error)
            continue
        cells = {"slide": row.slide, "group": group_of(row), "split": row.split, "model": model}
        found.append({**cells, "uncertainty": own.uncertainty, **asdict(own)})
    table = pd.DataFrame(found, columns=list(COLUMNS[1:]))
    table = table.sort_values("uncertainty", ascending=False, kind="stable", ignore_index=True)
    table.insert(0, "rank", np.arange(1, len(table) + 1))
    return table


def _mean(values: np.ndarray, counts: np.ndarray) -> float:
    return float((values * counts).sum() / counts.sum()) if counts.any() else math.nan
