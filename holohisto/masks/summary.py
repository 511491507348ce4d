"""Number and areas of the objects of one slide, class by class."""

import gzip
import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np

from holohisto.foreground.map import Foreground


@dataclass(frozen=True)
class ClassSummary:
    """The objects of one class on one slide."""

    slide: str
    label: str
    """Name of the class."""
    objects: int
    area_um2: float
    """Of all objects."""
    mean_um2: float
    """Of an object; NaN without objects."""
    median_um2: float
    tissue_mm2: float
    """Area of the slide's foreground."""
    share_of_tissue: float
    """Area of all objects, as a share of the foreground's; NaN without foreground."""


def summaries(
    slide: str, geojson: Path, classes: Sequence[str], foreground: Foreground, mpp: float
) -> list[ClassSummary]:
    """Count and measure the objects in a delivered GeoJSON file.

    Args:
        slide: Name of the slide.
        geojson: File written by `masks.geojson`, gzipped if it ends in .gz.
        classes: Names of all classes.
        foreground: The slide's tissue.
        mpp: Working resolution of the foreground, micrometres per pixel.
    """
    found: dict[str, list[float]] = {name: [] for name in classes}
    opened = gzip.open if geojson.suffix == ".gz" else open
    with opened(geojson, "rt", encoding="utf-8") as file:
        features = json.load(file)["features"]
    for feature in features:
        properties = feature["properties"]
        found[properties["classification"]["name"]].append(properties["measurements"]["Area µm^2"])
    tissue = float(foreground.mask.sum()) * (foreground.cell * mpp) ** 2
    return [_summary(slide, name, np.array(areas), tissue) for name, areas in found.items()]


def _summary(slide: str, label: str, areas: np.ndarray, tissue: float) -> ClassSummary:
    total = float(areas.sum())
    return ClassSummary(
        slide=slide,
        label=label,
        objects=len(areas),
        area_um2=round(total, 1),
        mean_um2=round(float(areas.mean()), 1) if len(areas) else float("nan"),
        median_um2=round(float(np.median(areas)), 1) if len(areas) else float("nan"),
        tissue_mm2=round(tissue / 1e6, 4),
        share_of_tissue=round(total / tissue, 5) if tissue else float("nan"),
    )


def table(rows: Sequence[ClassSummary]) -> str:
    """Return the summaries as text in aligned columns, with a heading."""
    lines = [[field.name for field in fields(ClassSummary)]]
    lines += [[str(value) for value in astuple(row)] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
