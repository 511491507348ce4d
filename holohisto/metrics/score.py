"""All scores of one model on one slide, in one pass over labels and annotation."""

from collections.abc import Callable, Sequence
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
from holohisto.metrics.counts import Tally
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

AS_IT_IS = MaskOptions(min_object_um2=0, max_hole_um2=0)


@dataclass(frozen=True)
class Reference:
    """The annotation of a slide."""

    bands: Bands
    """At working resolution."""
    known: tuple[bool, ...]
    """Of each class bit, whether the annotation knows it."""
    scorer: Callable[[tuple[int, int]], np.ndarray]
    """As the KPIs scorer sees it: bits of rows from, to of its grid, (rows, width) uint8."""


@dataclass
class _Class:
    """What is gathered of one annotated class."""

    bit: int
    found: Objects
    truth: Objects
    tally: Tally
    boundary: Boundary
    pairs: list[np.ndarray] = field(default_factory=lambda: [np.zeros((0, 3), np.int64)])

    def add(
        self,
        band: int,
        rows: tuple[int, int],
        labels: np.ndarray,
        annotation: np.ndarray,
        tissue: np.ndarray,
    ) -> None:
        runs, number = self.found.runs(labels, rows, band)
        marked, item = self.truth.runs(annotation, rows, band)
        self.pairs.append(overlaps(runs, number, marked, item))
        predicted = rle.paint(runs, rows, labels.shape[1])
        annotated = (annotation >> self.bit) & 1 != 0
        self.tally.add(rows[0], predicted, annotated, tissue)
        self.boundary.add(predicted, annotated)

    def match(self, iou: float) -> tuple[Matching, Matching]:
        """Which of the found and of the annotated objects have a partner."""
        areas = self.found.table.area, self.truth.table.area
        pairs = summed(np.concatenate(self.pairs))
        partner = match_objects(*areas, pairs, iou)
        annotated = np.zeros(len(areas[1]), bool)
        annotated[partner[partner >= 0]] = True
        closest_found, closest_annotated = closest(*areas, pairs)
        return Matching(partner >= 0, closest_found), Matching(annotated, closest_annotated)


def score(
    labels: Bands,
    reference: Reference,
    foreground: Callable[[tuple[int, int]], np.ndarray],
    frame: Frame,
    options: MetricsOptions,
    mask_options: MaskOptions,
    probability: Probability,
    names: Sequence[str],
) -> dict[int, dict[str, Any]]:
    """Score the cleaned labels, as delivered, against the annotation as it is.

    Args:
        labels: at working resolution.
        reference: the annotation.
        foreground: the foreground of the rows from, to (working pixels): (rows, width) bool.
        frame: the slide.
        options: how to score.
        mask_options: how masks are cleaned.
        probability: map of the highest class probability.
        names: of the classes, by bit.

    Returns:
        Of each class bit its entry in the metrics file.
    """
    bits = range(len(reference.known))
    known = [bit for bit in bits if reference.known[bit]]
    found = cleaning.find(labels, list(bits), frame.pixel_um2, mask_options, probability, names)
    truth = cleaning.find(reference.bands, known, frame.pixel_um2, AS_IT_IS)
    width, tolerance = labels.size[0], options.boundary_um / (frame.mpp * frame.factor)
    classes = [
        _Class(
            bit,
            found[bit],
            truth[bit],
            Tally(frame.working_size, options.tile),
            Boundary(width, tolerance),
        )
        for bit in known
    ]
    for (band, rows, pixels), (_, _, annotation) in zip(labels, reference.bands, strict=True):
        tissue = foreground(rows)
        for one in classes:
            one.add(band, rows, pixels, annotation, tissue)
    scores = {bit: _unknown(found[bit], frame) for bit in bits}
    for one in classes:
        scores[one.bit] = _known(one, frame, options)
        if options.protocol == "kpis2024":
            scores[one.bit]["kpis2024"] = _challenge(labels, one, reference, frame)
    return scores


def _unknown(found: Objects, frame: Frame) -> dict[str, Any]:
    """Entry of a class that nobody annotated on this slide."""
    return {
        "annotated": False,
        **_amount("found", found, frame),
        "object_table": object_table(found.table, frame, None),
    }


def _known(one: _Class, frame: Frame, options: MetricsOptions) -> dict[str, Any]:
    found, annotated = one.match(options.iou)
    matched = int(np.count_nonzero(found.found))
    return {
        "annotated": True,
        **one.tally.scores(frame.factor),
        "boundary": {"tolerance_um": options.boundary_um, **one.boundary.scores()},
        "objects": object_scores(matched, len(one.found.table), len(one.truth.table)),
        **_amount("found", one.found, frame),
        **_amount("annotated", one.truth, frame),
        "object_table": object_table(one.found.table, frame, found),
        "missed": missed_table(one.truth.table, frame, annotated),
    }


def _amount(what: str, objects: Objects, frame: Frame) -> dict[str, Any]:
    """Number of objects and their whole area."""
    area = float(objects.table.area.sum()) * frame.pixel_um2
    return {f"objects_{what}": len(objects.table), f"area_{what}_um2": round(area, 3)}


def _challenge(labels: Bands, one: _Class, reference: Reference, frame: Frame) -> dict[str, Any]:
    grid = kpis2024.grid_size(frame.size, frame.factor)
    return kpis2024.score(
        labels, one.found, lambda rows: (reference.scorer(rows) >> one.bit) & 1 != 0, grid
    )
