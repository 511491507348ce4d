"""The choice of slides and fields to show, by rules instead of taste."""

from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import KDTree

WORST_SHARE = 3
"""At most one in this many slides is shown as a failure, but at least one."""


def typical(slides: pd.DataFrame, model: str, limit: int) -> list[str]:
    """The slide with the median Dice of every group, in the table's order.

    Slides of one group form separate groups if different classes are annotated on them.

    Args:
        slides: slides.tsv; a slide's Dice is the mean over its classes.
        model: whose Dice is used.
        limit: largest number of slides.
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
    """Slides with the lowest Dice of their worst class, lowest first; slides with Dice 1 never.

    Args:
        slides: slides.tsv.
        model: whose Dice is used.
        limit: largest number of slides; at most a third of them are returned, but at least one.
    """
    dice = _dice(slides, model, "min").sort_values(kind="stable")
    number = min(limit, max(1, len(dice) // WORST_SHARE))
    return [str(slide) for slide in dice.index[dice < 1][:number]]


def _dice(slides: pd.DataFrame, model: str, how: str) -> pd.Series:
    own = slides[(slides["model"] == model) & slides["dice_foreground"].notna()]
    return own.groupby("slide", sort=False)["dice_foreground"].agg(how)


def objects_drawn(record: dict[str, Any]) -> np.ndarray:
    """Centres of a slide's annotated objects of all classes: (n, 2) float, level-0 pixels.

    Args:
        record: metrics of one model; a matched object's centre is that of its prediction.
    """
    entries = [
        entry
        for scores in record["classes"].values()
        for entry in (
            *(item for item in scores.get("object_table") or () if item.get("matched")),
            *(scores.get("missed") or ()),
        )
    ]
    return np.array([(entry["x"], entry["y"]) for entry in entries], float).reshape(-1, 2)


def densest(points: np.ndarray, side: float) -> tuple[float, float]:
    """Mean of the points in the fullest square that is centred on a point.

    Args:
        points: (n, 2) float, n >= 1.
        side: of the square, in the unit of the points.
    """
    tree = KDTree(points)
    counts = tree.query_ball_point(points, side / 2, p=np.inf, return_length=True)
    fullest = points[int(np.argmax(counts))]
    x, y = points[tree.query_ball_point(fullest, side / 2, p=np.inf)].mean(axis=0).tolist()
    return x, y


def largest_errors(record: dict[str, Any], number: int) -> dict[str, list[dict[str, Any]]]:
    """The largest false positives (`extra`) and false negatives (`missed`).

    Returns:
        Entries of the metrics file with their `class`, the largest first, `number` of each kind.
    """
    errors: dict[str, list[dict[str, Any]]] = {"extra": [], "missed": []}
    for name, scores in record["classes"].items():
        for entry in scores.get("object_table") or ():
            if entry.get("matched") is False and "box" in entry:
                errors["extra"].append({**entry, "class": name})
        errors["missed"] += [{**entry, "class": name} for entry in scores.get("missed") or ()]
    for entries in errors.values():
        entries.sort(key=lambda entry: -entry["area_um2"])
    return {kind: entries[:number] for kind, entries in errors.items()}
