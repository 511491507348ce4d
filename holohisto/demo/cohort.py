"""Writing the demo cohort: slides, annotations and the sample sheet."""

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import pandas as pd

from holohisto.demo.groups import SlidePlan, plans
from holohisto.demo.layout import lay_out
from holohisto.demo.paint import annotation, paint
from holohisto.pyramid.write import write_mask_pyramid, write_slide_pyramid
from holohisto.runtime import atomic, progress
from holohisto.sheet.rows import read_sheet

QUALITY = 88
"""JPEG quality of the slides' tiles."""


def write_cohort(
    folder: Path, seed: int = 0, scale: float = 1.0, slides: int | None = None, workers: int = 1
) -> Path:
    """Write `folder`/slides, `folder`/annotations and `folder`/slides.tsv.

    Args:
        folder: Where to write; files of the same names are replaced.
        seed: The same seed gives the same pictures, whatever the number of workers.
        scale: Linear scale of the slides' sizes; structures keep their size.
        slides: Number of slides, chosen as by `plans`; None for all sixteen.
        workers: Processes.

    Returns:
        The sheet's path.

    Raises:
        HolohistoError: the folder cannot be written.
    """
    chosen = plans(seed, scale, slides)
    for _ in progress.track(_written(chosen, folder, workers), len(chosen), "demo", "slide"):
        pass
    table = pd.DataFrame([_row(plan, folder) for plan in chosen])
    path = folder / "slides.tsv"
    atomic.write_text(path, table.to_csv(sep="\t", index=False, lineterminator="\n"))
    read_sheet(path)
    return path


def write_slide(plan: SlidePlan, folder: Path) -> str:
    """Draw one slide and write it with its annotation; returns its id."""
    layout = lay_out(plan)
    image, outlines = _paths(plan, folder)
    write_slide_pyramid(image, paint(plan, layout), plan.mpp, QUALITY)
    description = f"synthetic annotation of {plan.slide}: glomeruli, Bowman's capsule included"
    write_mask_pyramid(outlines, annotation(plan, layout), plan.size, plan.mpp, description)
    return plan.slide


def _written(chosen: list[SlidePlan], folder: Path, workers: int) -> Iterator[str]:
    """Yield the ids of slides as they are written."""
    if workers <= 1 or len(chosen) == 1:
        yield from (write_slide(plan, folder) for plan in chosen)
        return
    # libvips does not survive a fork, so the workers start afresh.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(chosen)), context) as pool:
        jobs = [pool.submit(write_slide, plan, folder) for plan in chosen]
        try:
            for job in as_completed(jobs):
                yield job.result()
        finally:
            for job in jobs:
                job.cancel()


def default_workers() -> int:
    """Number of processes for this machine: its cores, at most four (0.6 GB each)."""
    return min(4, len(os.sched_getaffinity(0)))


def _paths(plan: SlidePlan, folder: Path) -> tuple[Path, Path]:
    name = f"{plan.slide}.tif"
    return folder / "slides" / name, folder / "annotations" / name


def _row(plan: SlidePlan, folder: Path) -> dict[str, str]:
    image, outlines = _paths(plan, folder)
    return {
        "slide": plan.slide,
        "image": str(image),
        "annotation": str(outlines),
        "group": plan.group,
        "subject": plan.subject,
        "split": plan.split,
        "note": "black surroundings" if plan.black else "",
    }
