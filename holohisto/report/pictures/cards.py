"""Cards of slides: overlay and foreground beside the scores."""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from holohisto.foreground.ink import WORDS
from holohisto.report.pictures.embedded import EmbeddedPicture, embedded
from holohisto.report.results import Run, column, record, rows_of
from holohisto.report.words import count, percent
from holohisto.sheet.cells import Row
from holohisto.slide.mpp import mpp_text

OVERLAY_BYTES = 58_000
"""Size of a picture of 640 pixels; with base64 and text a slide stays below 100 kB."""
THUMBNAIL_SIDE, THUMBNAIL_BYTES = 200, 8_000
TRAINED_SIDE, TRAINED_BYTES = 320, 18_000
AREA = "Area µm^2"
"""Measurement of an object in the GeoJSON."""
OUTSIDE = 0.01
"""Share of the annotation outside the foreground above which a card has a warning."""


@dataclass(frozen=True)
class Score:
    """Scores of one class on a slide."""

    name: str
    dice: str
    tile_dice: str
    f1: str
    objects: str
    """Objects matched, missed and extra."""


@dataclass(frozen=True)
class SlideCard:
    """One slide."""

    row: Row
    facts: dict[str, str]
    scores: list[Score]
    overlay: EmbeddedPicture | None
    foreground: EmbeddedPicture | None
    warnings: list[str] = field(default_factory=list)
    dice: float = math.nan
    """Lowest Dice of the classes, by which cards are sorted."""


def cards(run: Run, side: int, ink: Mapping[str, str]) -> list[SlideCard]:
    """Cards of segmented slides by group, the worst slide of a group first.

    Args:
        run: The run.
        side: Longest side of a picture, pixels.
        ink: A sentence on each slide whose foreground map states ink of pens.
    """
    scores, objects = run.table("slides"), run.table("objects")
    result = []
    for row in (row for row in run.kept if row.split in run.splits):
        own = rows_of(scores, model=run.reference, slide=row.slide)
        counted = rows_of(objects, model=run.reference, slide=row.slide)
        overlay = run.results.overlay(run.reference, row.slide)
        foreground = run.results.foreground_picture(row.slide)
        values = [value for value in own.get("dice_foreground", ()) if not math.isnan(value)]
        result.append(
            SlideCard(
                row,
                facts(run, row) | _objects(run, row, counted),
                [_score(item) for item in own.to_dict("records") if item["annotated"] != "no"],
                embedded(overlay, side, round(OVERLAY_BYTES * (side / 640) ** 2)),
                embedded(foreground, THUMBNAIL_SIDE, THUMBNAIL_BYTES),
                _warnings(own) + warnings(run, row, ink),
                min(values, default=math.nan),
            )
        )
    groups = list(dict.fromkeys(row.group for row in run.rows.values()))
    result.sort(
        key=lambda c: (groups.index(c.row.group), math.inf if math.isnan(c.dice) else c.dice)
    )
    return [card for card in result if card.overlay or card.foreground or card.scores or card.facts]


def trained_cards(run: Run, ink: Mapping[str, str]) -> list[SlideCard]:
    """Small cards of the slides that are used for training only."""
    result = []
    for row in (row for row in run.kept if row.split not in run.splits):
        thumbnail = embedded(run.results.foreground_picture(row.slide), TRAINED_SIDE, TRAINED_BYTES)
        if thumbnail is not None:
            notes = warnings(run, row, ink)
            result.append(SlideCard(row, facts(run, row), [], None, thumbnail, notes))
    return result


def facts(run: Run, row: Row) -> dict[str, str]:
    """Size and resolution from the slide's record; empty without one."""
    check = record(run.results.record(row.slide))
    result = {}
    if len(check.get("size") or ()) == 2:
        result["size"] = "{} × {} px".format(*map(count, check["size"]))
    if isinstance(check.get("mpp"), int | float):
        mpp = check["mpp"], check.get("mpp_y", check["mpp"])
        result["resolution"] = f"{mpp_text(mpp)} µm per pixel"
    return result


def warnings(run: Run, row: Row, ink: Mapping[str, str]) -> list[str]:
    """Warnings of the slide's record; a sentence on ink replaces that of the record."""
    check = record(run.results.record(row.slide))
    texts = [str(text) for text in check.get("warnings") or ()]
    if row.slide in ink:
        texts = [text for text in texts if not text.startswith(WORDS)] + [ink[row.slide]]
    return texts


def _objects(run: Run, row: Row, objects: Any) -> dict[str, str]:
    """Number and median area of the objects: from objects.tsv, else from the GeoJSON outlines."""
    areas = {name: column(rows_of(objects, **{"class": name}), "area_um2") for name in run.classes}
    if not any(areas.values()):
        path = run.geojson(run.reference, row.slide)
        for feature in record(path).get("features") or ():
            properties = feature.get("properties") or {}
            name = (properties.get("classification") or {}).get("name")
            if name in areas:
                measurements = properties.get("measurements") or {}
                areas[name].append(float(measurements.get(AREA, math.nan)))
    facts = {}
    for name, values in areas.items():
        if values:
            area = count(statistics.median(values))
            facts[f"{name} found"] = f"{len(values)}, median area {area} µm²"
    return facts


def _score(item: dict[Any, Any]) -> Score:
    counts = [item[f"objects_{key}"] for key in ("tp", "fn", "fp")]
    counted = (
        ""
        if any(math.isnan(count) for count in counts)
        else ("{:.0f} matched, {:.0f} missed, {:.0f} extra".format(*counts))
    )
    return Score(
        item["class"],
        percent(item["dice_foreground"]),
        percent(item["tile_dice"]),
        percent(item["object_f1"]),
        counted,
    )


def _warnings(own: Any) -> list[str]:
    texts = []
    for item in own.to_dict("records"):
        outside = item["outside_foreground"]
        total = outside + item["tp"] + item["fn"]
        if total > 0 and outside / total >= OUTSIDE:
            texts.append(
                f"{100 * outside / total:.0f} % of the annotated {item['class']} lies outside the"
                " foreground; look at the foreground picture, or set a saturation in the sheet"
            )
    return texts
