"""Writing the gallery: a folder of pictures with an index, gallery.json."""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from holohisto.config.sections import Classes, GalleryOptions
from holohisto.errors import HolohistoError
from holohisto.gallery.choice import typical, worst
from holohisto.gallery.errors import write_errors
from holohisto.gallery.fields import write_field
from holohisto.gallery.least_sure import write_least_sure
from holohisto.gallery.slides import GallerySlide
from holohisto.runtime.atomic import replacing_folder
from holohisto.runtime.results import Results
from holohisto.runtime.seal import sealed_json
from holohisto.sheet.cells import Row
from holohisto.statistics.files import read_table

logger = logging.getLogger(__name__)
INDEX = "gallery.json"


def write_gallery(
    rows: dict[str, Row],
    results: Results,
    classes: Classes,
    models: list[str],
    reference: str,
    options: GalleryOptions,
    output: Path,
    unsure: Sequence[str] = (),
) -> dict[str, list[dict[str, Any]]]:
    """Write typical fields, largest errors and least sure objects.

    The folder appears whole or not at all.

    A slide that cannot be read is left out with a warning.

    Args:
        rows: of the sheet, by slide.
        results: of the run.
        classes: in the order of their bits.
        models: to show.
        reference: model whose scores choose the slides.
        options: section `gallery`.
        output: folder to write; an earlier one is replaced.
        unsure: slides without annotation, the least sure first, whose objects are shown.

    Returns:
        The index: entries of `fields`, `failures` and `unsure`.
    """
    scores = read_table(results.scores)
    known = scores[scores["slide"].isin(rows)] if len(scores) else scores
    index: dict[str, list[dict[str, Any]]] = {"fields": [], "failures": [], "unsure": []}
    with replacing_folder(output) as folder:
        if len(known):
            for name in typical(known, reference, options.groups):
                with _warned(name), GallerySlide.open(rows[name], results, classes) as slide:
                    index["fields"].append(write_field(slide, models, reference, options, folder))
            for name in worst(known, reference, options.worst):
                with _warned(name), GallerySlide.open(rows[name], results, classes) as slide:
                    index["failures"].append(write_errors(slide, reference, options, folder))
        for name in unsure[: options.worst]:
            with (
                _warned(name),
                GallerySlide.open(rows[name], results, classes, scored=False) as slide,
            ):
                index["unsure"].append(write_least_sure(slide, reference, options, folder))
        (folder / INDEX).write_text(sealed_json(index))
    return index


@contextlib.contextmanager
def _warned(slide: str) -> Iterator[None]:
    """Turn an error into a warning: a missing picture is no reason to fail."""
    try:
        yield
    except HolohistoError as error:
        logger.warning("%s: not shown (%s)", slide, error)
