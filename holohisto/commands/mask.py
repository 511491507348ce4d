"""`holohisto mask`: write mask pyramids, outlines for QuPath and an overlay."""

import argparse
import contextlib
import gzip
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import numpy as np
import shapely

from holohisto.annotation import Annotation
from holohisto.annotation.reader import annotated_classes
from holohisto.config.parsing import from_json
from holohisto.config.sections import Classes, MaskOptions
from holohisto.masks import cleaning, delivery, geojson, outlines
from holohisto.masks.borders import Borders
from holohisto.masks.cleaning import Bands, Objects
from holohisto.masks.frame import Frame, annotation_bands, frame_of, label_bands, probability_of
from holohisto.masks.overlay import Overlay, fitted
from holohisto.pyramid.raster import Raster
from holohisto.runtime import progress
from holohisto.runtime.atomic import replacing, write_text
from holohisto.slide import Slide
from holohisto.slide.record import SlideRecord

logger = logging.getLogger(__name__)
EVERYTHING = MaskOptions(min_object_um2=0, max_hole_um2=0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("labels", type=Path, help="labels file of infer")
    parser.add_argument("--image", type=Path, required=True, help="the slide")
    parser.add_argument("--record", type=Path, required=True, help="record of check")
    parser.add_argument("--probability", type=Path, required=True, help="map of infer")
    parser.add_argument("--annotation", type=Path, help="drawn into the overlay")
    parser.add_argument(
        "--annotated", help="classes annotated on this slide, separated by commas; else all"
    )
    parser.add_argument(
        "--options", type=from_json(MaskOptions), default=MaskOptions(), help="section `mask`, JSON"
    )
    parser.add_argument(
        "--classes", type=from_json(Classes), required=True, help="section `classes`, JSON"
    )
    parser.add_argument(
        "--masks", required=True, help="pattern of the masks, with {class} and maybe {slide}"
    )
    parser.add_argument(
        "--geojson", required=True, help="outlines for QuPath; gzipped when it ends in .gz"
    )
    parser.add_argument("--overlay", required=True, help="JPEG picture")
    parser.add_argument("--facts", help="number of objects, and of those at borders of tiles, JSON")


def run(arguments: argparse.Namespace) -> None:
    options: MaskOptions = arguments.options
    classes = arguments.classes
    record = SlideRecord.read(arguments.record)
    with (
        Raster(arguments.labels) as labels,
        Raster(arguments.probability) as raster,
        contextlib.ExitStack() as outputs,  # renames all files at the end, or none
    ):
        frame = frame_of(labels, record, classes)
        bands = label_bands(labels)
        with progress.phase("objects"):
            found = cleaning.find(
                bands,
                list(range(len(classes))),
                frame.pixel_um2,
                options,
                probability_of(raster, frame),
                list(classes),
            )
        borders = Borders(labels.header, labels.size)
        facts = {}
        for bit, name in enumerate(classes):
            final = frame.fill(arguments.masks, **{"class": name})
            path = outputs.enter_context(replacing(final))
            ome = None
            if options.ome:
                ome = outputs.enter_context(replacing(final.with_suffix(".ome.tif")))
            count = len(found[bit].table)
            with progress.phase(f"mask of {name}, {count} objects"):
                touching = delivery.write(
                    path, bands, found[bit], frame, f"holohisto mask of {name}", ome, borders
                )
            facts[name] = {"objects": count, "at_borders": touching if borders.known else None}
        with record.open(arguments.image) as slide:
            overlay = _start_overlay(slide, frame, options.overlay_side)
        path = outputs.enter_context(replacing(frame.fill(arguments.geojson)))
        with progress.phase("outlines"):
            _write_outlines(path, bands, found, frame, classes, options, overlay)
        if arguments.annotation:
            with progress.phase("outlines of the annotation"):
                annotated = annotated_classes(arguments.annotated, classes)
                annotation = Annotation(
                    arguments.annotation, classes, record.size, record.factor, annotated
                )
                _add_annotation(annotation, frame, len(classes), overlay)
        path = outputs.enter_context(replacing(frame.fill(arguments.overlay)))
        overlay.draw().save(path, quality=88, subsampling=0)  # else thin lines lose colour
        if arguments.facts:
            write_text(frame.fill(arguments.facts), json.dumps(facts, indent=2) + "\n")


def _start_overlay(slide: Slide, frame: Frame, side: int) -> Overlay:
    """An overlay over the slide, its longer side `side` pixels, or fewer on a small slide."""
    side = min(side, max(frame.working_size))
    # The overview keeps to whole factors; one of twice the side is never smaller than `side`.
    picture = fitted(*slide.overview(2 * side), frame.size, side)
    return Overlay(picture, frame.size)


def _write_outlines(
    path: Path,
    bands: Bands,
    found: dict[int, Objects],
    frame: Frame,
    classes: Classes,
    options: MaskOptions,
    overlay: Overlay,
) -> None:
    """Write the GeoJSON object by object, and hand each outline to the overlay."""
    names = list(classes)
    separator = "\n"
    with _text_file(path) as file:
        file.write(geojson.HEAD)
        for bit, numbers, polygons in outlines.polygons_of(bands, found):
            exact = outlines.scaled(polygons, frame.factor, frame.size)
            thinned = outlines.thin(exact, options.simplify_um / frame.mpp)
            colour = classes[names[bit]].colour
            for text in geojson.features(
                thinned, numbers, shapely.area(exact), found[bit].table, frame, names[bit], colour
            ):
                file.write(separator + text)
                separator = ",\n"
            overlay.add(exact, colour)
        file.write(geojson.TAIL)
    for bit, name in enumerate(names):
        count = len(found[bit].table)
        overlay.name(f"{name}: {count} object{'s' * (count != 1)}", classes[name].colour)


@contextlib.contextmanager
def _text_file(path: Path) -> Iterator[TextIO]:
    """A text file to write, gzipped when it ends in .gz; the same text gives the same bytes."""
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(path.open("wb"))
        if path.suffix == ".gz":
            packed = gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0)
            file = stack.enter_context(packed)
        yield stack.enter_context(io.TextIOWrapper(file, encoding="utf-8"))


def _add_annotation(annotation: Annotation, frame: Frame, count: int, overlay: Overlay) -> None:
    """Add the annotation's outlines to the overlay, as they are."""
    bands = annotation_bands(annotation, frame)
    found = cleaning.find(bands, list(range(count)), frame.pixel_um2, EVERYTHING)
    for _, _, polygons in outlines.polygons_of(bands, found):
        overlay.add(outlines.scaled(polygons, frame.factor, frame.size), None)
    objects = int(np.sum([len(item.table) for item in found.values()]))
    overlay.name(f"annotation: {objects} object{'s' * (objects != 1)}", None)
