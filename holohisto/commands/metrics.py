"""`holohisto metrics`: score a slide's labels, cleaned as delivered, against its annotation."""

import argparse
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from holohisto.annotation import Annotation
from holohisto.annotation.reader import annotated_classes
from holohisto.config.parsing import from_json
from holohisto.config.sections import Classes, MaskOptions, MetricsOptions
from holohisto.errors import HolohistoError
from holohisto.foreground.map import load_foreground
from holohisto.masks.frame import Frame, annotation_bands, frame_of, label_bands, probability_of
from holohisto.metrics import kpis2024
from holohisto.metrics.score import Reference, score
from holohisto.pyramid.raster import Raster
from holohisto.runtime import atomic, progress
from holohisto.runtime.arithmetic import ceil_div
from holohisto.slide.record import SlideRecord

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("labels", type=Path, help="labels file of infer")
    parser.add_argument("--record", type=Path, required=True, help="record of check")
    parser.add_argument("--annotation", type=Path, required=True, help="the reference")
    parser.add_argument("--foreground", type=Path, required=True, help="map of foreground")
    parser.add_argument("--probability", type=Path, required=True, help="map of infer")
    parser.add_argument(
        "--annotated", help="classes annotated on this slide, separated by commas; else all"
    )
    parser.add_argument(
        "--options",
        type=from_json(MetricsOptions),
        default=MetricsOptions(),
        help="section `metrics`, JSON",
    )
    parser.add_argument(
        "--mask-options",
        type=from_json(MaskOptions),
        required=True,
        help="section `mask`, JSON: delivered masks are scored",
    )
    parser.add_argument(
        "--classes", type=from_json(Classes), required=True, help="section `classes`, JSON"
    )
    parser.add_argument("--output", required=True, help="the scores, JSON")


def run(arguments: argparse.Namespace) -> None:
    classes = arguments.classes
    record = SlideRecord.read(arguments.record)
    annotated = annotated_classes(arguments.annotated, classes)
    annotation = Annotation(arguments.annotation, classes, record.size, record.factor, annotated)
    with (
        Raster(arguments.labels) as labels,
        Raster(arguments.probability) as probability,
        progress.phase("scores"),
    ):
        frame = frame_of(labels, record, classes)
        scores = score(
            label_bands(labels),
            Reference(
                annotation_bands(annotation, frame),
                tuple(annotated is None or name in annotated for name in classes),
                _scorer(annotation, frame),
            ),
            _foreground_rows(arguments.foreground, frame),
            frame,
            arguments.options,
            arguments.mask_options,
            probability_of(probability, frame),
            list(classes),
        )
    result = {
        "slide": frame.slide,
        "model": frame.model,
        "pretrained": frame.pretrained,
        "mpp": frame.mpp,
        "working_mpp": frame.mpp * frame.factor,
        "classes": {name: scores[bit] for bit, name in enumerate(classes)},
    }
    atomic.write_text(frame.fill(arguments.output), json.dumps(result, indent=1) + "\n")
    _tell(result["classes"])


def _scorer(annotation: Annotation, frame: Frame) -> Callable[[tuple[int, int]], np.ndarray]:
    """Rows of the annotation as the KPIs scorer sees it; one of working size as it is."""
    grid = kpis2024.grid_size(frame.size, frame.factor)
    size = frame.size if annotation.block == frame.factor else grid

    def read(top: int, bottom: int) -> np.ndarray:
        return annotation.bits(0, top, size[0], bottom - top)

    return lambda rows: kpis2024.zoomed(read, size, grid, rows)


def _foreground_rows(path: Path, frame: Frame) -> Callable[[tuple[int, int]], np.ndarray]:
    """The foreground, enlarged to working pixels, of the rows asked for."""
    found = load_foreground(path)
    cell, (width, height) = found.cell, frame.working_size
    if found.mask.shape != (ceil_div(height, cell), ceil_div(width, cell)):
        raise HolohistoError(
            path,
            "foreground is of another slide or resolution",
            found=found.mask.shape,
            advice="run foreground again",
        )

    return lambda rows: found.pixels((0, rows[0]), (width, rows[1] - rows[0]))


def _tell(classes: dict[str, Any]) -> None:
    for name, scores in classes.items():
        if not scores["annotated"]:
            logger.info("%s: not annotated on this slide", name)
            continue
        objects = scores["objects"]
        logger.info(
            "%s: Dice %.4f in the foreground, %.4f everywhere; boundary F1 %.4f within %g um;"
            " objects: %d found, %d extra, %d missed; %d annotated pixels outside the foreground",
            name,
            scores["foreground"]["dice"],
            scores["everywhere"]["dice"],
            scores["boundary"]["f1"],
            scores["boundary"]["tolerance_um"],
            objects["tp"],
            objects["fp"],
            objects["fn"],
            scores["outside_foreground"],
        )
