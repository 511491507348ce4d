"""A slide of the gallery: its pixels, its annotation, and the masks of every model."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from holohisto.annotation import Annotation
from holohisto.config.sections import Classes
from holohisto.errors import HolohistoError
from holohisto.gallery.drawing import FieldOfView, outlined, squared, with_box
from holohisto.masks.overlay import fitted, proportions
from holohisto.pyramid.raster import Raster
from holohisto.runtime.results import Results
from holohisto.runtime.seal import read_sealed_json
from holohisto.sheet.cells import Row
from holohisto.slide import Slide
from holohisto.slide.record import SlideRecord
from holohisto.slide.scale import working_pixels


@dataclass
class GallerySlide:
    """One slide, open."""

    row: Row
    record: SlideRecord
    slide: Slide
    annotation: Annotation | None
    results: Results
    all_classes: Classes

    @staticmethod
    @contextlib.contextmanager
    def open(
        row: Row, results: Results, classes: Classes, scored: bool = True
    ) -> "Iterator[GallerySlide]":
        """Open the slide and its annotation.

        Args:
            row: of the sheet.
            results: of the run.
            classes: all classes, in the order of their bits.
            scored: whether the slide must have an annotation, which is opened.

        Raises:
            HolohistoError: a file is absent or broken, or the slide has no annotation.
        """
        record = SlideRecord.read(results.record(row.slide))
        if row.annotation is None and scored:
            raise HolohistoError(f"slide {row.slide}", "has no annotation")
        with contextlib.ExitStack() as files:
            slide = files.enter_context(record.open(row.image))
            annotation = None
            if row.annotation is not None and scored:
                annotation = files.enter_context(
                    Annotation(
                        row.annotation,
                        classes,
                        record.size,
                        record.scale,
                        row.annotated,
                        record.bounds,
                    )
                )
            yield GallerySlide(row, record, slide, annotation, results, classes)

    @property
    def classes(self) -> list[str]:
        """Classes that are annotated on the slide."""
        annotated = self.row.annotated
        return [name for name in self.all_classes if annotated is None or name in annotated]

    def colour(self, name: str) -> str:
        """Colour of a class, #rrggbb."""
        return self.all_classes[name].colour

    def metrics(self, model: str) -> dict[str, Any]:
        """The metrics file of a model on this slide.

        Raises:
            HolohistoError: absent or broken.
        """
        path = self.results.metrics(model, self.row.slide)
        try:
            return read_sealed_json(path)
        except OSError as error:
            raise HolohistoError(path, f"cannot be read ({error})") from error

    def mask_path(self, model: str, name: str) -> Path:
        """The delivered mask of a model and class."""
        return self.results.mask(model, self.row.slide, name)

    def pixels(self, field: FieldOfView) -> np.ndarray:
        """The tissue at full resolution: (height, width, 3) uint8; pixels are made square."""
        return squared(self.slide.read(field.xy, field.size), self.record.scale)

    def predicted(self, field: FieldOfView, model: str, name: str) -> np.ndarray:
        """A model's mask of a class at full resolution: (height, width) bool."""
        with Raster(self.mask_path(model, name)) as mask:
            return squared(mask.read(field.xy, field.size) > 0, self.record.scale)

    def annotated(self, field: FieldOfView, name: str) -> np.ndarray:
        """The annotation of a class at full resolution: (height, width) bool."""
        if self.annotation is None:
            raise HolohistoError(f"slide {self.row.slide}", "has no annotation")
        scale, bit = self.record.scale, list(self.all_classes).index(name)
        columns, rows = (
            working_pixels(step, np.arange(start, start + length))
            for step, start, length in zip((scale.x, scale.y), field.xy, field.size, strict=True)
        )
        x, y = int(columns[0]), int(rows[0])
        bits = self.annotation.read((x, y), (int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y))
        return squared((bits[np.ix_(rows - y, columns - x)] >> bit) & 1 != 0, scale)

    def whole(self, field: FieldOfView, model: str, side: int) -> np.ndarray:
        """The whole slide with a model's outlines and a frame around the field.

        Args:
            field: to frame.
            model: whose masks are outlined.
            side: longest side of the picture, pixels.

        Returns:
            (height, width, 3) uint8.
        """
        size, shape = self.slide.size, proportions(self.slide)
        picture = fitted(*self.slide.overview(2 * side), size, side, shape)
        for name in self.classes:
            with Slide(self.mask_path(model, name), mpp=1.0, background=(0, 0, 0)) as mask:
                predicted = fitted(*mask.overview(2 * side), size, side, shape)[..., 0] >= 128
            picture = outlined(picture, predicted, self.colour(name))
        return with_box(picture, field, size)
