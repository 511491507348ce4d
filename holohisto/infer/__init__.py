"""Whole-slide inference by row bands: memory O(width x tile height), never O(slide)."""

from holohisto.infer.bands import Band, Job, ReadTile, Speed, TileData, probability_bands, segment
from holohisto.infer.predict import predict
from holohisto.infer.quarter import DIVISOR, Spool
from holohisto.infer.resume import Kept
from holohisto.infer.stages import ON_DEVICE, STAGES, Clock, bottleneck

__all__ = [
    "DIVISOR",
    "ON_DEVICE",
    "STAGES",
    "Band",
    "Clock",
    "Job",
    "Kept",
    "ReadTile",
    "Speed",
    "Spool",
    "TileData",
    "bottleneck",
    "predict",
    "probability_bands",
    "segment",
]
