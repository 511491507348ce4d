"""Scores of delivered masks against annotations: int64 counts, gathered band by band."""

from holohisto.metrics.boundary import Boundary
from holohisto.metrics.counts import Tally, counts, dice
from holohisto.metrics.objects import match_objects, object_scores, overlaps
from holohisto.metrics.score import Reference, score

__all__ = [
    "Boundary",
    "Reference",
    "Tally",
    "counts",
    "dice",
    "match_objects",
    "object_scores",
    "overlaps",
    "score",
]
