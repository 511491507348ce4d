"""The gallery in the page: typical fields, largest errors, and least sure objects."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holohisto.report.pictures.embedded import EmbeddedPicture, embedded
from holohisto.report.results import Run, record, rows_of
from holohisto.report.words import area, percent

SIDE = 320
"""Longest side of a picture, pixels."""
LARGEST, SMALLEST = 16_000, 3_500
"""Limits of a picture's bytes."""
BASE64 = 4 / 3
"""Characters per byte."""
OVERLAPS = 0.01
"""Intersection over union below which an object counts as not overlapping."""
KINDS = ("pictures", "extra", "missed", "objects")
"""Lists of pictures in the entries of gallery.json."""


@dataclass(frozen=True)
class GalleryPicture:
    """A picture with its heading and a line under it."""

    title: str
    words: str
    picture: EmbeddedPicture
    ours: bool = False


@dataclass(frozen=True)
class Strip:
    """Pictures of one slide."""

    slide: str
    group: str
    dice: str
    pictures: list[GalleryPicture]
    missed: list[GalleryPicture]
    """False negatives; `pictures` are then the false positives. Empty for a typical field."""


def strips(run: Run, room: float) -> tuple[list[Strip], list[Strip], list[Strip]]:
    """Typical fields, failures and least sure objects, in about `room` bytes of the page."""
    folder = run.results.gallery
    index = record(folder / "gallery.json")
    entries = [
        [entry for entry in index.get(key) or () if isinstance(entry, dict)]
        for key in ("fields", "failures", "unsure")
    ]
    everything = [entry for kind in entries for entry in kind]
    number = sum(len(entry.get(key) or ()) for entry in everything for key in KINDS)
    budget = round(min(LARGEST, max(SMALLEST, room / BASE64 / max(1, number))))
    fields, failures = [], []
    for entry in entries[0]:
        shown = _shown(run, entry.get("pictures") or (), folder, budget)
        fields.append(_strip(run, entry, shown))
    for entry in entries[1]:
        extra, missed = (_errors(entry.get(key) or (), folder, budget) for key in KINDS[1:3])
        failures.append(_strip(run, entry, extra, missed))
    unsure = [
        _strip(run, entry, _unsure(entry.get("objects") or (), folder, budget))
        for entry in entries[2]
    ]
    return (
        [strip for strip in fields if strip.pictures],
        failures,
        [strip for strip in unsure if strip.pictures],
    )


def _strip(
    run: Run,
    entry: dict[str, Any],
    pictures: list[GalleryPicture],
    missed: Sequence[GalleryPicture] = (),
) -> Strip:
    slide = str(entry.get("slide"))
    own = rows_of(run.table("slides"), model=run.reference, slide=slide)
    values = [value for value in own.get("dice_foreground", ()) if not math.isnan(value)]
    dice = percent(sum(values) / len(values)) if values else ""
    annotated = [str(name) for name in entry.get("classes") or run.classes]
    only = "" if len(annotated) == len(run.classes) else ", ".join(annotated)
    title = ": ".join(filter(None, (str(entry.get("group", "")), only)))
    return Strip(slide, title, dice, pictures, list(missed))


def _shown(
    run: Run, entries: Sequence[dict[str, Any]], folder: Path, budget: int
) -> list[GalleryPicture]:
    shown = []
    for entry in entries:
        drawn = embedded(folder / Path(str(entry.get("file"))).name, SIDE, budget)
        if drawn is not None:
            model, content = str(entry.get("model", "")), str(entry.get("what", ""))
            title = model if content == "model" else content
            shown.append(
                GalleryPicture(title, "", drawn, content == "model" and model == run.reference)
            )
    return shown


def _unsure(entries: Sequence[dict[str, Any]], folder: Path, budget: int) -> list[GalleryPicture]:
    shown = []
    for entry in entries:
        drawn = embedded(folder / Path(str(entry.get("file"))).name, SIDE, budget)
        if drawn is not None:
            size = area(float(entry.get("area_um2") or math.nan))
            words = f"mean probability {float(entry.get('probability') or math.nan):.2f}"
            shown.append(GalleryPicture(f"{entry.get('class', '')}, {size}", words, drawn))
    return shown


def _errors(entries: Sequence[dict[str, Any]], folder: Path, budget: int) -> list[GalleryPicture]:
    shown = []
    for entry in entries:
        drawn = embedded(folder / Path(str(entry.get("file"))).name, SIDE, budget)
        if drawn is None:
            continue
        iou = float(entry.get("iou") or 0)
        words = "no overlap" if iou < OVERLAPS else f"overlap {100 * iou:.0f} %"
        reduced = float(entry.get("reduced") or 1)
        if reduced > 1:
            words += f", reduced {reduced:.1f} times"
        size = area(float(entry.get("area_um2") or math.nan))
        shown.append(GalleryPicture(f"{entry.get('class', '')}, {size}", words, drawn))
    return shown
