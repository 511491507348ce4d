"""Typical fields beside every model, and the largest errors, as pictures of the page."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holohisto.report.pictures.picture import Picture, picture
from holohisto.report.results import Run, record, rows_of
from holohisto.report.words import area, percent

SIDE = 320
MOST, LEAST = 16_000, 3_500
"""Bytes of a picture: as many as there is room for, within these."""
BASE64 = 4 / 3
TOUCHES = 0.01


@dataclass(frozen=True)
class Shown:
    """A picture with its heading and a line under it."""

    title: str
    words: str
    picture: Picture
    ours: bool = False


@dataclass(frozen=True)
class Strip:
    """Pictures of one slide."""

    slide: str
    group: str
    dice: str
    pictures: list[Shown]
    missed: list[Shown]
    """Of a failure: what was missed; `pictures` is what is extra."""


def strips(run: Run, room: float) -> tuple[list[Strip], list[Strip]]:
    """Typical fields and failures; their pictures together take about `room` bytes of the page."""
    folder = run.results / "gallery"
    index = record(folder / "gallery.json")
    entries = [
        [one for one in index.get(key) or () if isinstance(one, dict)]
        for key in ("fields", "failures")
    ]
    number = sum(len(one.get(key) or ()) for part in entries for one in part for key in KINDS)
    budget = round(min(MOST, max(LEAST, room / BASE64 / max(1, number))))
    fields, failures = [], []
    for one in entries[0]:
        shown = _shown(run, one.get("pictures") or (), folder, budget)
        fields.append(_strip(run, one, shown))
    for one in entries[1]:
        extra, missed = (_errors(one.get(key) or (), folder, budget) for key in KINDS[1:])
        failures.append(_strip(run, one, extra, missed))
    return [one for one in fields if one.pictures], failures


KINDS = ("pictures", "extra", "missed")


def _strip(
    run: Run, one: dict[str, Any], pictures: list[Shown], missed: Sequence[Shown] = ()
) -> Strip:
    slide = str(one.get("slide"))
    own = rows_of(run.table("slides"), model=run.reference, slide=slide)
    values = [value for value in own.get("dice_foreground", ()) if not math.isnan(value)]
    dice = percent(sum(values) / len(values)) if values else ""
    drawn = [str(name) for name in one.get("classes") or run.classes]
    only = "" if len(drawn) == len(run.classes) else ", ".join(drawn)
    title = ": ".join(filter(None, (str(one.get("group", "")), only)))
    return Strip(slide, title, dice, pictures, list(missed))


def _shown(run: Run, entries: Sequence[dict[str, Any]], folder: Path, budget: int) -> list[Shown]:
    shown = []
    for entry in entries:
        drawn = picture(folder / Path(str(entry.get("file"))).name, SIDE, budget)
        if drawn is not None:
            model, what = str(entry.get("model", "")), str(entry.get("what", ""))
            title = model if what == "model" else what
            shown.append(Shown(title, "", drawn, what == "model" and model == run.reference))
    return shown


def _errors(entries: Sequence[dict[str, Any]], folder: Path, budget: int) -> list[Shown]:
    shown = []
    for entry in entries:
        drawn = picture(folder / Path(str(entry.get("file"))).name, SIDE, budget)
        if drawn is None:
            continue
        iou = float(entry.get("iou") or 0)
        words = "touches nothing" if iou < TOUCHES else f"overlap {100 * iou:.0f} %"
        reduced = float(entry.get("reduced") or 1)
        if reduced > 1:
            words += f", reduced {reduced:.1f} times"
        size = area(float(entry.get("area_um2") or math.nan))
        shown.append(Shown(f"{entry.get('class', '')}, {size}", words, drawn))
    return shown
