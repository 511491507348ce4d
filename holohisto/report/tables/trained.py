"""What each model's training saw, from the headers of the segmenters."""

import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from holohisto.report.results import Run
from holohisto.report.tables.wide import Cell, Head, Line, Wide
from holohisto.report.words import ABSENT, duration, large

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """A model's training; NaN or empty where its file does not tell."""

    pretrained: str
    parameters: float
    tile: tuple[int, ...]
    """Width and height, working pixels."""
    steps: float
    tiles: float
    pixels: float
    """Working pixels seen, each time again."""
    seconds: float


def trained(run: Run) -> dict[str, Trained]:
    """Of every model that is a trained segmenter, what its file says of the training."""
    found = {}
    for model, options in run.models.items():
        if options.get("kind") == "masks":
            continue
        weights = options.get("weights")
        path = Path(weights) if weights else run.results / f"models/{model}/segmenter.safetensors"
        summary = _summary(path)
        if summary:
            found[model] = Trained(
                str(summary.get("pretrained", "")),
                _number(summary, "parameters"),
                tuple(summary.get("tile") or ()),
                *(_number(summary, key) for key in ("steps", "tiles", "pixels", "seconds")),
            )
    return found


def trained_table(found: dict[str, Trained], reference: str) -> Wide | None:
    """One line a model; None when no file tells anything."""
    if not found:
        return None
    heads = ["Began from", "Parameters", "Tile, px", "Steps", "Tiles seen", "Pixels seen", "Time"]
    lines = [
        Line(
            model,
            "",
            model == reference,
            [
                Cell(one.pretrained or ABSENT),
                Cell(large(one.parameters)),
                Cell(size(one.tile)),
                Cell(large(one.steps)),
                Cell(large(one.tiles)),
                Cell(large(one.pixels)),
                Cell(duration(one.seconds)),
            ],
        )
        for model, one in found.items()
    ]
    return Wide("Model", [Head(text, words=text == heads[0]) for text in heads], lines)


def size(tile: tuple[int, ...]) -> str:
    """Width and height in words."""
    return " × ".join(str(side) for side in tile) or ABSENT


def _summary(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, "numpy") as file:
            summary = json.loads((file.metadata() or {})["summary"])
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        logger.warning("%s: left out (%s)", path, error)
        return {}
    return summary if isinstance(summary, dict) else {}


def _number(summary: dict[str, Any], key: str) -> float:
    value = summary.get(key)
    return float(value) if isinstance(value, int | float) else math.nan
