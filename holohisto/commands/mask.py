"""`holohisto mask`: write mask pyramids, outlines for QuPath and an overlay."""

import argparse
import contextlib
from pathlib import Path

from holohisto.annotation import Annotation
from holohisto.annotation.reader import annotated_classes
from holohisto.config.parsing import from_json
from holohisto.config.sections import Classes, MaskOptions
from holohisto.masks import cleaning, delivery, geojson
from holohisto.masks.annotated import add_annotation
from holohisto.masks.borders import Borders
from holohisto.masks.frame import frame_of, label_bands, probability_of
from holohisto.masks.overlay import start_overlay
from holohisto.pyramid.raster import Raster
from holohisto.runtime.atomic import replacing, write_text
from holohisto.runtime.pictures import jpeg_bytes
from holohisto.runtime.progress import phase
from holohisto.runtime.seal import sealed_json
from holohisto.slide.record import SlideRecord


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("labels", type=Path, metavar="LABELS", help="labels of `infer`, .tif")
    add("--image", type=Path, required=True, metavar="FILE", help="image file of the slide")
    add("--record", type=Path, required=True, metavar="FILE", help="record of `check`, .json")
    probability = "probability map of `infer`, .tif"
    add("--probability", type=Path, required=True, metavar="FILE", help=probability)
    annotation = "annotation of the slide, drawn into the overlay"
    add("--annotation", type=Path, metavar="FILE", help=annotation)
    annotated = "classes annotated on this slide, separated by commas; empty: all"
    add("--annotated", metavar="NAMES", help=annotated)
    options = {"type": from_json(MaskOptions), "default": MaskOptions(), "metavar": "JSON"}
    add("--options", **options, help="the configuration's section `mask`")
    classes = {"type": from_json(Classes), "required": True, "metavar": "JSON"}
    add("--classes", **classes, help="the configuration's section `classes`")
    masks = "path of the masks to write, .tif, with {class} and maybe {slide} and {model}"
    add("--masks", required=True, metavar="PATTERN", help=masks)
    outlines = "outlines for QuPath to write, .geojson, gzipped if it ends in .gz"
    add("--geojson", required=True, metavar="PATTERN", help=outlines)
    add("--overlay", required=True, metavar="PATTERN", help="picture to write, .jpg")
    facts = "numbers of objects, and of objects at borders of tiles, to write, .json"
    add("--facts", metavar="PATTERN", help=facts)


def run(arguments: argparse.Namespace) -> None:
    options: MaskOptions = arguments.options
    classes: Classes = arguments.classes
    record, bits = SlideRecord.read(arguments.record), list(range(len(arguments.classes)))
    with (
        Raster(arguments.labels, sealed=True) as labels,
        Raster(arguments.probability, sealed=True) as raster,
        contextlib.ExitStack() as outputs,  # renames all files at the end, or none
    ):
        frame = frame_of(labels, record, classes)
        bands, probability = label_bands(labels), probability_of(raster, frame)
        area = frame.pixel_um2
        with phase("objects"):
            objects = cleaning.find(bands, bits, area, options, probability, list(classes))
        borders = Borders(labels.header, labels.size)
        facts = delivery.write_masks(
            arguments.masks, bands, objects, frame, list(classes), options.ome, borders, outputs
        )
        with record.open(arguments.image) as slide:
            overlay = start_overlay(slide, frame.working_size, options.overlay_side)
        path = outputs.enter_context(replacing(frame.fill(arguments.geojson)))
        with phase("outlines"):
            geojson.write(path, bands, objects, frame, classes, options.simplify_um, overlay)
        if arguments.annotation:
            with phase("outlines of the annotation"):
                annotated = annotated_classes(arguments.annotated, classes)
                annotation = Annotation(
                    arguments.annotation,
                    classes,
                    record.size,
                    record.scale,
                    annotated,
                    record.bounds,
                )
                add_annotation(overlay, annotation, frame, len(classes))
        path = outputs.enter_context(replacing(frame.fill(arguments.overlay)))
        # Thin lines lose their colour with subsampling.
        path.write_bytes(jpeg_bytes(overlay.draw(), quality=88, subsampling=0))
        if arguments.facts:
            write_text(frame.fill(arguments.facts), sealed_json(facts))
