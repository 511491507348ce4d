"""Cards of slides: what the eye checks, beside the numbers."""

import math
import statistics
from dataclasses import dataclass, field
from typing import Any

from holohisto.report.pictures.picture import Picture, picture
from holohisto.report.results import Run, column, record, rows_of
from holohisto.report.words import count, percent
from holohisto.sheet.cells import Row

OVERLAY_BYTES = 58_000
"""At 640 pixels; with base64 and text a slide stays below 100 kB."""
THUMBNAIL_SIDE, THUMBNAIL_BYTES = 200, 8_000
TRAINED_SIDE, TRAINED_BYTES = 320, 18_000
AREA = "Area µm^2"
"""Measurement of an object in the GeoJSON."""
OUTSIDE = 0.01
"""Share of the annotation outside the tissue from which the card warns."""


@dataclass(frozen=True)
class Score:
    """What one class of a slide scored."""

    name: str
    dice: str
    tile_dice: str
    f1: str
    found: str


@dataclass(frozen=True)
class Card:
    """One slide."""

    row: Row
    facts: dict[str, str]
    scores: list[Score]
    overlay: Picture | None
    foreground: Picture | None
    warnings: list[str] = field(default_factory=list)
    dice: float = math.nan
    """Lowest of the classes: the order of the cards."""


def cards(run: Run, side: int) -> list[Card]:
    """Cards of segmented slides by group, the worst slide of a group first."""
    scores, objects = run.table("slides"), run.table("objects")
    made = []
    for row in (row for row in run.kept if row.split in run.splits):
        own = rows_of(scores, model=run.reference, slide=row.slide)
        counted = rows_of(objects, model=run.reference, slide=row.slide)
        overlay = run.results / "models" / run.reference / "overlays" / f"{row.slide}.jpg"
        values = [value for value in own.get("dice_foreground", ()) if not math.isnan(value)]
        made.append(
            Card(
                row,
                facts(run, row) | _objects(run, row, counted),
                [_score(item) for item in own.to_dict("records") if item["annotated"] != "no"],
                picture(overlay, side, round(OVERLAY_BYTES * (side / 640) ** 2)),
                picture(_foreground(run, row), THUMBNAIL_SIDE, THUMBNAIL_BYTES),
                _warnings(own) + warnings(run, row),
                min(values, default=math.nan),
            )
        )
    groups = list(dict.fromkeys(row.group for row in run.rows.values()))
    made.sort(key=lambda c: (groups.index(c.row.group), math.inf if math.isnan(c.dice) else c.dice))
    return [card for card in made if card.overlay or card.foreground or card.scores or card.facts]


def trained_cards(run: Run) -> list[Card]:
    """Small cards of the slides that only teach."""
    made = []
    for row in (row for row in run.kept if row.split not in run.splits):
        thumbnail = picture(_foreground(run, row), TRAINED_SIDE, TRAINED_BYTES)
        if thumbnail is not None:
            made.append(Card(row, facts(run, row), [], None, thumbnail, warnings(run, row)))
    return made


def _foreground(run: Run, row: Row) -> Any:
    return run.results / "foreground" / f"{row.slide}.jpg"


def facts(run: Run, row: Row) -> dict[str, str]:
    """Size and resolution from `check`; empty when it failed."""
    check = record(run.results / "check" / f"{row.slide}.json")
    told = {}
    if len(check.get("size") or ()) == 2:
        told["size"] = "{} × {} px".format(*map(count, check["size"]))
    if isinstance(check.get("mpp"), int | float):
        told["resolution"] = f"{check['mpp']:.4g} µm per pixel"
    return told


def warnings(run: Run, row: Row) -> list[str]:
    """What `check` found odd."""
    check = record(run.results / "check" / f"{row.slide}.json")
    return [str(text) for text in check.get("warnings") or ()]


def _objects(run: Run, row: Row, objects: Any) -> dict[str, str]:
    """Number and size of the objects: from the scores, else from the outlines for QuPath."""
    areas = {name: column(rows_of(objects, **{"class": name}), "area_um2") for name in run.classes}
    if not any(areas.values()):
        path = run.geojson(run.reference, row.slide)
        for feature in record(path).get("features") or ():
            told = feature.get("properties") or {}
            name = (told.get("classification") or {}).get("name")
            if name in areas:
                areas[name].append(float((told.get("measurements") or {}).get(AREA, math.nan)))
    told = {}
    for name, values in areas.items():
        if values:
            area = count(statistics.median(values))
            told[f"{name} found"] = f"{len(values)}, median area {area} µm²"
    return told


def _score(item: dict[Any, Any]) -> Score:
    counts = [item[f"objects_{key}"] for key in ("tp", "fn", "fp")]
    found = (
        ""
        if any(math.isnan(count) for count in counts)
        else ("{:.0f} matched, {:.0f} missed, {:.0f} extra".format(*counts))
    )
    return Score(
        item["class"],
        percent(item["dice_foreground"]),
        percent(item["tile_dice"]),
        percent(item["object_f1"]),
        found,
    )


def _warnings(own: Any) -> list[str]:
    told = []
    for item in own.to_dict("records"):
        outside = item["outside_foreground"]
        total = outside + item["tp"] + item["fn"]
        if total > 0 and outside / total >= OUTSIDE:
            told.append(
                f"{100 * outside / total:.0f} % of the annotated {item['class']} lies outside the"
                " tissue found; look at the foreground picture, or set a saturation in the sheet"
            )
    return told
