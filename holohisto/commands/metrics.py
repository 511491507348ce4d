"""`holohisto metrics`: score a slide's labels, cleaned as delivered, against its annotation."""

import argparse
import logging
from pathlib import Path

from holohisto.annotation import Annotation
from holohisto.annotation.reader import annotated_classes
from holohisto.config.parsing import from_json
from holohisto.config.sections import Classes, MaskOptions, MetricsOptions
from holohisto.masks.frame import frame_of, label_bands, probability_of
from holohisto.metrics.inputs import annotated_mask, foreground_rows
from holohisto.metrics.score import score
from holohisto.metrics.summary import summary_lines
from holohisto.pyramid.raster import Raster
from holohisto.runtime import atomic, progress
from holohisto.runtime.seal import sealed_json
from holohisto.slide.record import SlideRecord

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("labels", type=Path, help="labels file, written by `infer`")
    parser.add_argument(
        "--record", type=Path, required=True, help="record of the slide, written by `check`"
    )
    parser.add_argument(
        "--annotation", type=Path, required=True, help="annotation to score against"
    )
    parser.add_argument(
        "--foreground", type=Path, required=True, help="foreground map, written by `foreground`"
    )
    parser.add_argument(
        "--probability", type=Path, required=True, help="probability map, written by `infer`"
    )
    parser.add_argument(
        "--annotated",
        help="classes annotated on this slide, separated by commas (default: all)",
    )
    parser.add_argument(
        "--options",
        type=from_json(MetricsOptions),
        default=MetricsOptions(),
        help="section `metrics` of the configuration, JSON (default: its defaults)",
    )
    parser.add_argument(
        "--mask-options",
        type=from_json(MaskOptions),
        required=True,
        help="section `mask` of the configuration, JSON, by which the labels are cleaned",
    )
    parser.add_argument(
        "--classes",
        type=from_json(Classes),
        required=True,
        help="section `classes` of the configuration, JSON",
    )
    parser.add_argument(
        "--output", required=True, help="JSON file for the scores; may hold {model} and {slide}"
    )


def run(arguments: argparse.Namespace) -> None:
    classes = arguments.classes
    record = SlideRecord.read(arguments.record)
    annotated = annotated_classes(arguments.annotated, classes)
    annotation = Annotation(
        arguments.annotation, classes, record.size, record.scale, annotated, record.bounds
    )
    with (
        Raster(arguments.labels, sealed=True) as labels,
        Raster(arguments.probability, sealed=True) as probability,
        progress.phase("scores"),
    ):
        frame = frame_of(labels, record, classes)
        scores = score(
            label_bands(labels),
            annotated_mask(annotation, frame, classes, annotated),
            foreground_rows(arguments.foreground, frame),
            frame,
            arguments.options,
            arguments.mask_options,
            probability_of(probability, frame),
        )
    result = {
        "slide": frame.slide,
        "model": frame.model,
        "pretrained": frame.pretrained,
        "mpp": record.mpp,
        "mpp_y": record.mpp_y,
        "working_mpp": frame.working_mpp,
        "classes": scores,
    }
    atomic.write_text(frame.fill(arguments.output), sealed_json(result))
    for line in summary_lines(scores):
        logger.info("%s", line)
