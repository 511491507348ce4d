"""Opening the training and validation slides of a cohort from the files of a run."""

from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from holohisto.annotation import Annotation
from holohisto.annotation.cells import annotated_cells
from holohisto.annotation.reopened import ReopenedAnnotation, open_annotation
from holohisto.config.fields import Precision
from holohisto.errors import HolohistoError
from holohisto.foreground.map import load_foreground
from holohisto.foreground.tissue import Tissue
from holohisto.runtime.open_files import OpenFiles
from holohisto.runtime.progress import track
from holohisto.sheet.cells import Row
from holohisto.sheet.rows import read_sheet
from holohisto.slide.record import SlideRecord
from holohisto.slide.reopened import ReopenedSlide
from holohisto.tokens.token_map import (
    TokenMap,
    load_token_map,
    require_mode,
    require_scale,
    require_slide,
    require_tokenizer,
)
from holohisto.training.job import TrainingJob
from holohisto.training.sampler import SamplingArea
from holohisto.training.slides import TrainingSlide


def open_slides(
    job: TrainingJob, split: str, tokenizer: str | None, files: OpenFiles
) -> list[TrainingSlide]:
    """Open the slides of a split, in the sheet's order; excluded ones are left out.

    Args:
        job: The training, which names the sheet and the run's files.
        split: `train` or `val`.
        tokenizer: Digest of the tokenizer whose token maps are opened; None: none are opened.
        files: The open files of the training, which bound its memory.

    Raises:
        HolohistoError: a slide has no annotation, a file is missing, or a token map is of another
            slide, tokenizer or mode.
    """
    rows = [
        row
        for row in read_sheet(job.sheet, tuple(job.classes)).values()
        if row.split == split and not row.exclude
    ]
    return [
        open_slide(job, row, tokenizer, files) for row in track(rows, len(rows), split, "slide")
    ]


def open_slide(
    job: TrainingJob, row: Row, tokenizer: str | None, files: OpenFiles
) -> TrainingSlide:
    """Open the slide of a row; arguments and errors as of `open_slides`."""
    record = SlideRecord.read(job.results.record(row.slide))
    foreground = load_foreground(job.results.foreground(row.slide), record)
    slide = ReopenedSlide(files, lambda: record.open(row.image))
    annotation = _annotation(job, row, record, files)
    size, cell = record.working_size, foreground.cell
    if row.split == "train" and job.options.annotated_share > 0:
        annotated = annotated_cells(annotation, size, cell)
    else:  # nothing is drawn from them
        annotated = np.zeros(foreground.mask.shape, np.uint8)
    return TrainingSlide(
        name=row.slide,
        tissue=Tissue(slide, record.scale, foreground),
        annotation=annotation,
        known=tuple(row.annotated is None or name in row.annotated for name in job.classes),
        area=SamplingArea(size, cell, foreground.mask, annotated),
        token_map=None if tokenizer is None else _token_map(job, record, row.slide, tokenizer),
    )


def _annotation(
    job: TrainingJob, row: Row, record: SlideRecord, files: OpenFiles
) -> Annotation | ReopenedAnnotation:
    path = row.annotation
    if path is None:
        raise HolohistoError(job.sheet, f"slide {row.slide} has no annotation to train with")

    def opener() -> Annotation:
        return Annotation(
            path, job.classes, record.size, record.scale, row.annotated, record.bounds
        )

    return open_annotation(files, path, opener)


def common_precision(slides: Iterable[TrainingSlide]) -> Precision | None:
    """Return the precision that the token maps of all slides were computed in; None without maps.

    Raises:
        HolohistoError: two maps are of different precisions; their tokens cannot be learned
            together.
    """
    maps = [slide.token_map for slide in slides if slide.token_map is not None]
    for first, other in pairwise(maps):
        if other.precision != first.precision:
            raise HolohistoError(
                "train",
                "the token maps of two slides are of different precisions",
                found=f"slide {first.slide} {first.precision}, slide {other.slide}"
                f" {other.precision}",
                allowed="one precision",
                advice="set tokens.precision to fp32 or bf16, and compute the token maps again"
                " (`auto` is bf16 on GPUs and fp32 on CPUs)",
            )
    return maps[0].precision if maps else None


def _token_map(job: TrainingJob, record: SlideRecord, slide: str, tokenizer: str) -> TokenMap:
    path = job.results.tokens(slide)
    token_map = load_token_map(path)
    require_tokenizer(token_map, tokenizer, path)
    require_slide(token_map, record.fingerprint, slide, path)
    require_scale(token_map, record.scale, path)
    require_mode(token_map, job.tokens.mode, path)
    return token_map
