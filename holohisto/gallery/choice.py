"""Which slides and places are shown: chosen by rules, not by taste."""

from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import KDTree

WORST_SHARE = 3
"""At most one in this many slides is shown as a failure, but one at least."""


def typical(slides: pd.DataFrame, model: str, limit: int) -> list[str]:
    """Of every group, in the table's order, the slide whose Dice is the group's median.

    Slides of a group on which different classes were annotated are groups of their own.

    Args:
        slides: slides.tsv; a slide's Dice is the mean over its classes.
        model: whose Dice counts.
        limit: of the number of groups.
    """
    dice = _dice(slides, model, "mean")
    scored = slides[(slides["model"] == model) & slides["dice_foreground"].notna()]
    alike: dict[tuple[str, ...], list[str]] = {}
    for slide, rows in scored.groupby("slide", sort=False):
        key = (str(rows["group"].iloc[0]), *rows["class"])
        alike.setdefault(key, []).append(str(slide))
    chosen = []
    for members in alike.values():
        own = dice[members].sort_values(kind="stable")
        chosen.append(str(own.index[(len(own) - 1) // 2]))
    return chosen[:limit]


def worst(slides: pd.DataFrame, model: str, limit: int) -> list[str]:
    """Slides by the Dice of their worst class, the lowest first; perfect ones are no failures."""
    dice = _dice(slides, model, "min").sort_values(kind="stable")
    number = min(limit, max(1, len(dice) // WORST_SHARE))
    return [str(slide) for slide in dice.index[dice < 1][:number]]


def _dice(slides: pd.DataFrame, model: str, how: str) -> pd.Series:
    own = slides[(slides["model"] == model) & slides["dice_foreground"].notna()]
    return own.groupby("slide", sort=False)["dice_foreground"].agg(how)


def objects_drawn(record: dict[str, Any]) -> np.ndarray:
    """Where a slide's annotated objects lie: (n, 2) float, level-0 pixels, all classes.

    Args:
        record: metrics of one model; of an object that was found it is the found centre.
    """
    entries = [
        entry
        for scores in record["classes"].values()
        for entry in (
            *(one for one in scores.get("object_table") or () if one.get("matched")),
            *(scores.get("missed") or ()),
        )
    ]
    return np.array([(entry["x"], entry["y"]) for entry in entries], float).reshape(-1, 2)


def densest(points: np.ndarray, side: float) -> tuple[float, float]:
    """Centre of the square field that holds the most points around one of them.

    Args:
        points: (n, 2) float, n >= 1.
        side: of the field.
    """
    tree = KDTree(points)
    counts = tree.query_ball_point(points, side / 2, p=np.inf, return_length=True)
    fullest = points[int(np.argmax(counts))]
    x, y = points[tree.query_ball_point(fullest, side / 2, p=np.inf)].mean(axis=0).tolist()
    return x, y


def largest_errors(record: dict[str, Any], number: int) -> dict[str, list[dict[str, Any]]]:
    """The largest objects that match nothing annotated (`extra`) and those `missed`.

    Returns:
        Entries of the metrics file with their `class`, the largest first, `number` of each kind.
    """
    found: dict[str, list[dict[str, Any]]] = {"extra": [], "missed": []}
    for name, scores in record["classes"].items():
        for entry in scores.get("object_table") or ():
            if entry.get("matched") is False and "box" in entry:
                found["extra"].append({**entry, "class": name})
        found["missed"] += [{**entry, "class": name} for entry in scores.get("missed") or ()]
    for entries in found.values():
        entries.sort(key=lambda entry: -entry["area_um2"])
    return {kind: entries[:number] for kind, entries in found.items()}
