"""What labels are scored against, read by rows: the annotation and the foreground."""

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from holohisto.annotation import Annotation
from holohisto.errors import HolohistoError
from holohisto.foreground.map import load_foreground
from holohisto.masks.cleaning import Bands
from holohisto.masks.frame import Frame, annotation_bands
from holohisto.metrics import kpis2024
from holohisto.runtime.arithmetic import ceil_div

Rows = Callable[[tuple[int, int]], np.ndarray]
"""Reads (first row, row after the last): (rows, width)."""


@dataclass(frozen=True)
class AnnotatedMask:
    """The annotation of a slide."""

    bands: Bands
    """At working resolution."""
    known: dict[str, bool]
    """Class name: whether it is annotated on the slide; in the order of the class bits."""
    zoomed: Rows
    """Class bits, uint8, on the grid of the KPIs 2024 scorer."""


def annotated_mask(
    annotation: Annotation,
    frame: Frame,
    classes: Iterable[str],
    annotated: Container[str] | None,
) -> AnnotatedMask:
    """The annotation as the scores read it.

    Args:
        annotation: of the slide, open.
        frame: of the slide.
        classes: names in the order of their bits.
        annotated: names of the classes annotated on the slide; None: all.
    """
    known = {name: annotated is None or name in annotated for name in classes}
    return AnnotatedMask(annotation_bands(annotation, frame), known, _zoomed(annotation, frame))


def _zoomed(annotation: Annotation, frame: Frame) -> Rows:
    """Rows of the annotation as the KPIs scorer reads it; not zoomed if already of working size."""
    grid = kpis2024.grid_size(frame.size, frame.scale)
    size = frame.size if annotation.own_scale == frame.scale else grid

    def read(top: int, bottom: int) -> np.ndarray:
        return annotation.bits(0, top, size[0], bottom - top)

    return lambda rows: kpis2024.zoomed(read, size, grid, rows)


def foreground_rows(path: Path, frame: Frame) -> Rows:
    """The foreground enlarged to working pixels, bool.

    Args:
        path: file of the verb `foreground`.
        frame: of the slide.

    Raises:
        HolohistoError: the file is of another slide or resolution.
    """
    foreground = load_foreground(path)
    cell, (width, height) = foreground.cell, frame.working_size
    if foreground.mask.shape != (ceil_div(height, cell), ceil_div(width, cell)):
        raise HolohistoError(
            path,
            "foreground is of another slide or resolution",
            found=foreground.mask.shape,
            advice="run foreground again",
        )
    return lambda rows: foreground.pixels((0, rows[0]), (width, rows[1] - rows[0]))
