"""`holohisto gallery`: pictures of typical fields by every model, and of the largest errors."""

import argparse
import contextlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from holohisto.annotation import Annotation
from holohisto.config.parsing import from_json
from holohisto.config.sections import Classes, GalleryOptions
from holohisto.errors import HolohistoError
from holohisto.gallery.choice import densest, largest_errors, objects_drawn, typical, worst
from holohisto.gallery.drawing import Field, outlined, shrunk, with_bar, with_box
from holohisto.masks.overlay import fitted
from holohisto.pyramid.raster import Raster
from holohisto.runtime.results import Results
from holohisto.sheet.cells import Row
from holohisto.sheet.rows import read_sheet
from holohisto.slide import Slide
from holohisto.slide.record import SlideRecord
from holohisto.statistics.files import read_table
from holohisto.statistics.rows import group_of

logger = logging.getLogger(__name__)
INDEX = "gallery.json"
EXPERT = "#ffffff"
LEAST_UM = 100.0
"""Side of the picture of an error, at least."""
AROUND = 1.5
"""Side of the picture of an error, in sides of its box."""
LONGEST = 4096
"""Longest side that is read, level-0 pixels: of a larger error only the middle is shown."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sheet", type=Path, required=True, help="the sample sheet")
    parser.add_argument(
        "--results", type=Results, default="results", help="folder of the run's results"
    )
    parser.add_argument("--models", required=True, help="names, separated by commas")
    parser.add_argument("--reference", help="model whose scores choose; else the first")
    parser.add_argument(
        "--options",
        type=from_json(GalleryOptions),
        default=GalleryOptions(),
        help="section `gallery`, JSON",
    )
    parser.add_argument(
        "--classes", type=from_json(Classes), required=True, help="section `classes`, JSON"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the pictures")


def run(arguments: argparse.Namespace) -> None:
    options: GalleryOptions = arguments.options
    rows = read_sheet(arguments.sheet, tuple(arguments.classes))
    models = arguments.models.split(",")
    reference = arguments.reference or models[0]
    scores = read_table(arguments.results.scores)
    known = scores[scores["slide"].isin(rows)] if len(scores) else scores
    folder = arguments.output.with_name(f".{arguments.output.name}.{os.getpid()}")
    folder.mkdir(parents=True)
    try:
        index: dict[str, list[dict[str, Any]]] = {"fields": [], "failures": []}
        if len(known):
            for slide in typical(known, reference, options.groups):
                with _told(slide), _Shown.open(arguments, rows[slide]) as shown:
                    index["fields"].append(_field(shown, models, reference, options, folder))
            for slide in worst(known, reference, options.worst):
                with _told(slide), _Shown.open(arguments, rows[slide]) as shown:
                    index["failures"].append(_failure(shown, reference, options, folder))
        (folder / INDEX).write_text(json.dumps(index, indent=1) + "\n")
        if arguments.output.exists():
            shutil.rmtree(arguments.output)
        folder.rename(arguments.output)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    counts = len(index["fields"]), len(index["failures"])
    logger.info("%s: fields of %d slides, errors of %d", arguments.output, *counts)


@contextlib.contextmanager
def _told(slide: str) -> Iterator[None]:
    """A slide that cannot be shown is left out: pictures are no reason to fail."""
    try:
        yield
    except HolohistoError as error:
        logger.warning("%s: not shown (%s)", slide, error)


@dataclass
class _Shown:
    """One slide's picture, annotation and masks, open."""

    arguments: argparse.Namespace
    row: Row
    record: SlideRecord
    slide: Slide
    annotation: Annotation

    @staticmethod
    @contextlib.contextmanager
    def open(arguments: argparse.Namespace, row: Row) -> "Iterator[_Shown]":
        record = SlideRecord.read(arguments.results.record(row.slide))
        if row.annotation is None:
            raise HolohistoError(arguments.sheet, f"slide {row.slide} has no annotation")
        with (
            record.open(row.image) as slide,
            Annotation(
                row.annotation, arguments.classes, record.size, record.factor, row.annotated
            ) as annotation,
        ):
            yield _Shown(arguments, row, record, slide, annotation)

    @property
    def classes(self) -> list[str]:
        """Those annotated on the slide."""
        return [
            name
            for name in self.arguments.classes
            if self.row.annotated is None or name in self.row.annotated
        ]

    def colour(self, name: str) -> str:
        return self.arguments.classes[name].colour

    def metrics(self, model: str) -> dict[str, Any]:
        path = self.arguments.results.metrics(model, self.row.slide)
        try:
            return json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise HolohistoError(path, f"cannot be read ({error})") from error

    def mask_path(self, model: str, name: str) -> Path:
        return self.arguments.results.mask(model, self.row.slide, name)

    def input(self, field: Field) -> np.ndarray:
        """(h, w, 3) uint8 at full resolution."""
        return self.slide.read(field.xy, field.size)

    def found(self, field: Field, model: str, name: str) -> np.ndarray:
        """(h, w) bool at full resolution."""
        with Raster(self.mask_path(model, name)) as mask:
            return mask.read(field.xy, field.size) > 0

    def drawn(self, field: Field, name: str) -> np.ndarray:
        """(h, w) bool at full resolution."""
        factor, bit = self.record.factor, list(self.arguments.classes).index(name)
        size = field.size[0] // factor, field.size[1] // factor
        mask = (self.annotation.read(field.xy, size) >> bit) & 1 != 0
        return mask.repeat(factor, axis=0).repeat(factor, axis=1)

    def whole(self, field: Field, model: str, side: int) -> np.ndarray:
        """The whole slide with the outlines of a model and a frame around the field."""
        size = self.slide.size
        picture = fitted(*self.slide.overview(2 * side), size, side)
        for name in self.classes:
            with Slide(self.mask_path(model, name), mpp=1.0, background=(0, 0, 0)) as mask:
                found = fitted(*mask.overview(2 * side), size, side)[..., 0] >= 128
            picture = outlined(picture, found, self.colour(name))
        return with_box(picture, field, size)


def _field(
    shown: _Shown, models: list[str], reference: str, options: GalleryOptions, folder: Path
) -> dict[str, Any]:
    """A row of pictures: the input, the annotation, every model, the whole slide."""
    record, side = shown.record, options.side
    length = min(options.field_um / record.mpp, max(record.size), LONGEST)
    points = objects_drawn(shown.metrics(reference))
    middle = record.size[0] / 2, record.size[1] / 2
    centre = densest(points, length) if len(points) else middle
    field = Field.around(centre, length, record.size, record.factor)
    plain = shrunk(shown.input(field), side)
    width_um = field.size[0] * record.mpp
    pictures = [("input", "", with_bar(plain, width_um))]
    drawn = {name: shown.drawn(field, name) for name in shown.classes}
    pictures.append(("annotation", "", _outlines(plain, drawn, shown, side)))
    for model in models:
        if not all(shown.mask_path(model, name).exists() for name in shown.classes):
            continue
        found = {name: shown.found(field, model, name) for name in shown.classes}
        pictures.append(("model", model, _outlines(plain, found, shown, side)))
    pictures.append(("whole slide", reference, shown.whole(field, reference, side)))
    slide = shown.row.slide
    return {
        "slide": slide,
        "group": group_of(shown.row),
        "width_um": round(width_um, 1),
        "xy": field.xy,
        "size": field.size,
        "classes": shown.classes,
        "pictures": [
            {"what": what, "model": model, "file": _save(folder, f"{slide}.field-{i}", picture)}
            for i, (what, model, picture) in enumerate(pictures)
        ],
    }


def _outlines(
    plain: np.ndarray, masks: dict[str, np.ndarray], shown: _Shown, side: int
) -> np.ndarray:
    for name, mask in masks.items():
        plain = outlined(plain, shrunk(mask, side), shown.colour(name))
    return plain


def _failure(
    shown: _Shown, reference: str, options: GalleryOptions, folder: Path
) -> dict[str, Any]:
    """The largest false positives and negatives of a slide, at full resolution."""
    told: dict[str, Any] = {"slide": shown.row.slide, "group": group_of(shown.row)}
    errors = largest_errors(shown.metrics(reference), options.errors)
    for kind, entries in errors.items():
        told[kind] = []
        for i, entry in enumerate(entries):
            picture, facts = _error(shown, reference, entry, options.side)
            file = _save(folder, f"{shown.row.slide}.{kind}-{i}", picture)
            keys = ("class", "area_um2", "iou", "x", "y")
            told[kind].append({"file": file, **{key: entry.get(key) for key in keys}, **facts})
    return told


def _error(
    shown: _Shown, reference: str, entry: dict[str, Any], side: int
) -> tuple[np.ndarray, dict[str, Any]]:
    record, name = shown.record, entry["class"]
    left, top, right, bottom = entry["box"]
    # What shows all of the error; what is larger than the picture is reduced.
    length = max(AROUND * max(right - left, bottom - top), LEAST_UM / record.mpp, side)
    middle = (left + right) / 2, (top + bottom) / 2
    if length > LONGEST:
        length, middle = LONGEST, (entry["x"], entry["y"])
    field = Field.around(middle, length, record.size, record.factor)
    picture = shrunk(shown.input(field), side)
    masks = shown.drawn(field, name), shown.found(field, reference, name)
    for mask, colour in zip(masks, (EXPERT, shown.colour(name)), strict=True):
        picture = outlined(picture, shrunk(mask, side), colour)
    reduced = field.size[0] / picture.shape[1]
    width_um = field.size[0] * record.mpp
    return with_bar(picture, width_um), {
        "width_um": round(width_um, 1),
        "reduced": round(reduced, 2),
    }


def _save(folder: Path, name: str, picture: np.ndarray) -> str:
    file = f"{name}.jpg"
    Image.fromarray(picture).save(folder / file, quality=88, subsampling=0)
    return file
