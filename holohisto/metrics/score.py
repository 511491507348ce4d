"""All scores of one model on one slide, in one pass over labels and annotation."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from holohisto.config.sections import MaskOptions, MetricsOptions
from holohisto.masks import cleaning
from holohisto.masks import runs as rle
from holohisto.masks.cleaning import Bands, Objects, Probability
from holohisto.masks.frame import Frame
from holohisto.metrics import kpis2024
from holohisto.metrics.boundary import Boundary
from holohisto.metrics.counts import TileCounts
from holohisto.metrics.inputs import AnnotatedMask, Rows
from holohisto.metrics.objects import (
    Matching,
    closest,
    match_objects,
    missed_table,
    object_scores,
    object_table,
    overlaps,
    summed,
)

WITHOUT_CLEANING = MaskOptions(min_object_um2=0, max_hole_um2=0)
"""Options that keep an annotation unchanged."""


@dataclass
class _ClassScores:
    """Sums over the bands of one annotated class."""

    bit: int
    predicted: Objects
    annotated: Objects
    counts: TileCounts
    boundary: Boundary
    pairs: list[np.ndarray] = field(default_factory=lambda: [np.zeros((0, 3), np.int64)])

    @classmethod
    def empty(
        cls,
        bit: int,
        predicted: Objects,
        annotated: Objects,
        frame: Frame,
        options: MetricsOptions,
    ) -> "_ClassScores":
        """Sums before the first band."""
        tolerance = options.boundary_um / frame.working_mpp
        boundary = Boundary(frame.working_size[0], tolerance)
        counts = TileCounts(frame.working_size, options.tile)
        return cls(bit, predicted, annotated, counts, boundary)

    def add(
        self,
        band: int,
        rows: tuple[int, int],
        labels: np.ndarray,
        annotation: np.ndarray,
        foreground: np.ndarray,
    ) -> None:
        """Add a band: labels and annotation (rows, width) uint8 bits, foreground bool."""
        runs, number = self.predicted.runs(labels, rows, band)
        drawn_runs, drawn_number = self.annotated.runs(annotation, rows, band)
        self.pairs.append(overlaps(runs, number, drawn_runs, drawn_number))
        predicted = rle.paint(runs, rows, labels.shape[1])
        annotated = (annotation >> self.bit) & 1 != 0
        self.counts.add(rows[0], predicted, annotated, foreground)
        self.boundary.add(predicted, annotated)

    def match(self, iou: float) -> tuple[Matching, Matching]:
        """Matching of the predicted and of the annotated objects."""
        areas = self.predicted.table.area, self.annotated.table.area
        pairs = summed(np.concatenate(self.pairs))
        partner = match_objects(*areas, pairs, iou)
        annotated = np.zeros(len(areas[1]), bool)
        annotated[partner[partner >= 0]] = True
        closest_predicted, closest_annotated = closest(*areas, pairs)
        return Matching(partner >= 0, closest_predicted), Matching(annotated, closest_annotated)


def score(
    labels: Bands,
    annotation: AnnotatedMask,
    foreground: Rows,
    frame: Frame,
    options: MetricsOptions,
    mask_options: MaskOptions,
    probability: Probability,
) -> dict[str, dict[str, Any]]:
    """Score the cleaned labels, as delivered, against the annotation, which is not cleaned.

    Args:
        labels: at working resolution.
        annotation: of the same slide.
        foreground: bool, at working resolution.
        frame: of the slide.
        options: section `metrics`.
        mask_options: section `mask`, by which the labels are cleaned.
        probability: map of the highest class probability.

    Returns:
        Class name: its entry in the metrics file, ready for JSON.
    """
    names = list(annotation.known)
    bits = range(len(names))
    known = [bit for bit in bits if annotation.known[names[bit]]]
    area = frame.pixel_um2
    predicted = cleaning.find(labels, list(bits), area, mask_options, probability, names)
    annotated = cleaning.find(annotation.bands, known, area, WITHOUT_CLEANING)
    classes = [
        _ClassScores.empty(bit, predicted[bit], annotated[bit], frame, options) for bit in known
    ]
    for (band, rows, pixels), (_, _, drawn) in zip(labels, annotation.bands, strict=True):
        tissue = foreground(rows)
        for sums in classes:
            sums.add(band, rows, pixels, drawn, tissue)
    scores = {names[bit]: _not_annotated(predicted[bit], frame) for bit in bits}
    for sums in classes:
        scores[names[sums.bit]] = entry = _annotated(sums, frame, options)
        if options.protocol == "kpis2024":
            entry["kpis2024"] = _challenge(labels, sums, annotation, frame)
    return scores


def _not_annotated(predicted: Objects, frame: Frame) -> dict[str, Any]:
    """Entry of a class that is not annotated on this slide."""
    return {
        "annotated": False,
        **_amount("found", predicted, frame),
        "object_table": object_table(predicted.table, frame, None),
    }


def _annotated(sums: _ClassScores, frame: Frame, options: MetricsOptions) -> dict[str, Any]:
    predicted, annotated = sums.match(options.iou)
    matched = int(np.count_nonzero(predicted.matched))
    tables = sums.predicted.table, sums.annotated.table
    return {
        "annotated": True,
        **sums.counts.scores(frame.scale),
        "boundary": {"tolerance_um": options.boundary_um, **sums.boundary.scores()},
        "objects": object_scores(matched, len(tables[0]), len(tables[1])),
        **_amount("found", sums.predicted, frame),
        **_amount("annotated", sums.annotated, frame),
        "object_table": object_table(tables[0], frame, predicted),
        "missed": missed_table(tables[1], frame, annotated),
    }


def _amount(origin: str, objects: Objects, frame: Frame) -> dict[str, Any]:
    """Number of objects and their total area."""
    area = float(objects.table.area.sum()) * frame.pixel_um2
    return {f"objects_{origin}": len(objects.table), f"area_{origin}_um2": round(area, 3)}


def _challenge(
    labels: Bands, sums: _ClassScores, annotation: AnnotatedMask, frame: Frame
) -> dict[str, Any]:
    grid = kpis2024.grid_size(frame.size, frame.scale)

    def drawn(rows: tuple[int, int]) -> np.ndarray:
        return (annotation.zoomed(rows) >> sums.bit) & 1 != 0

    return kpis2024.score(labels, sums.predicted, drawn, grid)
