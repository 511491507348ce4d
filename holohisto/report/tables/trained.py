"""Training of each model, from the headers of the segmenter files."""

import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holohisto.errors import HolohistoError
from holohisto.report.results import Run
from holohisto.report.tables.printed import Cell, Head, PrintedTable, TableLine
from holohisto.report.words import ABSENT, duration, large
from holohisto.runtime.seal import require_header
from holohisto.runtime.tensor_file import read_metadata

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """A model's training; NaN or empty if not recorded in its file."""

    pretrained: str
    parameters: float
    tile: tuple[int, ...]
    """Width and height, working pixels."""
    steps: float
    tiles: float
    pixels: float
    """Working pixels seen, each counted every time."""
    variants: float
    """Combinations of orientation, size and stored appearance in which a tile could be drawn."""
    seconds: float


def trained(run: Run) -> dict[str, Trained]:
    """Training of every model that has a segmenter file."""
    result = {}
    for model, options in run.models.items():
        if options.get("kind") == "masks":
            continue
        weights = options.get("weights")
        path = Path(weights) if weights else run.results.segmenter(model)
        summary = _summary(path)
        if summary:
            result[model] = Trained(
                str(summary.get("pretrained", "")),
                _number(summary, "parameters"),
                tuple(summary.get("tile") or ()),
                *(
                    _number(summary, key)
                    for key in ("steps", "tiles", "pixels", "variants", "seconds")
                ),
            )
    return result


def trained_table(models: dict[str, Trained], reference: str) -> PrintedTable | None:
    """One line per model; None without any model."""
    if not models:
        return None
    heads = ["Started from", "Parameters", "Tile, px", "Steps", "Tiles seen", "Pixels seen", "Time"]
    lines = [
        TableLine(
            model,
            "",
            model == reference,
            [
                Cell(training.pretrained or ABSENT),
                Cell(large(training.parameters)),
                Cell(size(training.tile)),
                Cell(large(training.steps)),
                Cell(large(training.tiles)),
                Cell(large(training.pixels)),
                Cell(duration(training.seconds)),
            ],
        )
        for model, training in models.items()
    ]
    return PrintedTable("Model", [Head(text, words=text == heads[0]) for text in heads], lines)


def size(tile: tuple[int, ...]) -> str:
    """Width and height as text."""
    return " × ".join(str(side) for side in tile) or ABSENT


def _summary(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        header = read_metadata(path, "segmenter")
        require_header(path, header)
        summary = json.loads(header["summary"])
    except (HolohistoError, ValueError, KeyError) as error:
        logger.warning("%s: left out (%s)", path, error)
        return {}
    return summary if isinstance(summary, dict) else {}


def _number(summary: dict[str, Any], key: str) -> float:
    value = summary.get(key)
    return float(value) if isinstance(value, int | float) else math.nan
