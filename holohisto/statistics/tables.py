"""The cohort's tables: slides, objects, groups and comparisons."""

from typing import Any

import numpy as np
import pandas as pd

from holohisto.sheet import Row
from holohisto.statistics.paired import (
    DECIMALS,
    hodges_lehmann,
    holm,
    shift_interval,
    signed_rank,
    smallest_p,
)

ALL, POOLED, UNGROUPED = "All", "pooled", "ungrouped"
MEASURES = {"dice": "dice_foreground", "tile_dice": "tile_dice", "f1": "object_f1"}
"""Measure in groups.tsv: column of slides.tsv it is the mean of."""
SLIDES = (
    "model", "slide", "class", "group", "subject", "split", "annotated", "dice_foreground",
    "dice_everywhere", "tile_dice", "tiles", "tiles_empty", "object_precision", "object_recall",
    "object_f1", "objects_tp", "objects_fp", "objects_fn", "tp", "fp", "fn", "outside_foreground",
)  # fmt: skip
OBJECTS = (
    "model", "slide", "class", "group", "area_um2", "x", "y", "probability", "matched",
)  # fmt: skip
GROUPS = (
    "model", "class", "group", "slides", "subjects", "tiles",
    *(f"{measure}_{what}" for measure in MEASURES for what in ("mean", "sd")), "dice_over_tiles",
)  # fmt: skip
COMPARISONS = (
    "class", "level", "scope", "reference", "model", "n", "n_zero", "median_difference", "shift",
    "shift_low", "shift_high", "confidence", "W", "p", "method", "p_holm", "result", "note",
)  # fmt: skip


def score_rows(record: dict[str, Any], row: Row) -> list[dict[str, Any]]:
    """Rows of slides.tsv, one a class, from the metrics of one model on one slide."""
    rows = []
    for name, scores in record["classes"].items():
        known = bool(scores.get("annotated", True))
        objects, foreground = scores.get("objects") or {}, scores.get("foreground") or {}
        cells = {
            "dice_foreground": foreground.get("dice"),
            "dice_everywhere": (scores.get("everywhere") or {}).get("dice"),
            "tile_dice": scores.get("tile_dice"),
            "tiles": len(scores.get("tiles") or ()),
            "tiles_empty": scores.get("tiles_empty"),
            **{f"object_{key}": objects.get(key) for key in ("precision", "recall", "f1")},
            **{f"objects_{key}": objects.get(key) for key in ("tp", "fp", "fn")},
            **{key: foreground.get(key) for key in ("tp", "fp", "fn")},
            "outside_foreground": scores.get("outside_foreground"),
        }
        rows.append(
            {
                "model": record["model"], "slide": row.slide, "class": name, "group": group_of(row),
                "subject": row.subject or row.slide, "split": row.split,
                "annotated": "yes" if known else "no",
                **(cells if known else dict.fromkeys(cells)),
            }
        )  # fmt: skip
    return rows


def object_rows(record: dict[str, Any], row: Row) -> list[dict[str, Any]]:
    """Rows of objects.tsv, one a predicted object; `matched` is empty where nobody annotated."""
    rows = []
    for name, scores in record["classes"].items():
        known = bool(scores.get("annotated", True))
        for item in scores.get("object_table") or ():
            cells = {key: item.get(key) for key in ("area_um2", "x", "y", "probability")}
            matched = ("yes" if item.get("matched") else "no") if known else None
            rows.append(
                {
                    "model": record["model"], "slide": row.slide, "class": name,
                    "group": group_of(row), **cells, "matched": matched,
                }
            )  # fmt: skip
    return rows


def group_of(row: Row) -> str:
    """Group of a slide; slides without one form a group of their own."""
    return row.group or UNGROUPED


def group_table(slides: pd.DataFrame) -> pd.DataFrame:
    """Means of groups from slides.tsv.

    `All` is the unweighted mean of the groups (the paper's definition), `pooled` the mean over
    all slides. `dice_over_tiles` weighs tiles equally within a group, as the paper does.
    """
    rows = []
    order = list(slides["group"].unique())
    for (model, name), part in _scored(slides).groupby(["model", "class"], sort=False):
        groups = [_means(members) | {"group": group} for group, members in _by_group(part, order)]
        unweighted: dict[str, Any] = _means(part) | {"group": ALL}
        for key in (*(f"{measure}_mean" for measure in MEASURES), "dice_over_tiles"):
            unweighted[key] = float(np.mean([float(group[key]) for group in groups]))
        unweighted |= {f"{measure}_sd": float("nan") for measure in MEASURES}
        pooled = _means(part) | {"group": POOLED}
        rows += [{"model": model, "class": name} | row for row in (*groups, unweighted, pooled)]
    return pd.DataFrame(rows, columns=list(GROUPS))


def _scored(slides: pd.DataFrame) -> pd.DataFrame:
    return slides[slides["dice_foreground"].notna()]


def _by_group(part: pd.DataFrame, order: list[str]) -> list[tuple[str, pd.DataFrame]]:
    """The groups there are, in the same order for every model, though slides may be missing."""
    parts = {str(group): members for group, members in part.groupby("group")}
    return [(group, parts[group]) for group in order if group in parts]


def _means(part: pd.DataFrame) -> dict[str, Any]:
    cells: dict[str, Any] = {
        "slides": len(part),
        "subjects": part["subject"].nunique(),
        "tiles": int(part["tiles"].sum()),
    }
    for measure, column in MEASURES.items():
        values = part[column].astype(float)
        cells[f"{measure}_mean"], cells[f"{measure}_sd"] = values.mean(), values.std(ddof=1)
    weights = part["tiles"].astype(float)
    total = (part["tile_dice"].astype(float) * weights).sum()
    cells["dice_over_tiles"] = total / weights.sum() if weights.sum() else float("nan")
    return cells


def comparison_table(
    slides: pd.DataFrame, reference: str, level: float, resamples: int
) -> pd.DataFrame:
    """Slide Dice of the reference against every other model, paired on slides and on subjects.

    Positive differences mean that the reference scores higher. p is Holm-corrected over the
    compared models, within class, level and scope.
    """
    rows = []
    order = list(slides["group"].unique())
    for name, part in _scored(slides).groupby("class", sort=False):
        scopes = [(ALL, part), *(_by_group(part, order) if part["group"].nunique() > 1 else ())]
        for unit in ("slides", "subjects"):
            for scope, members in scopes:
                family = _family(members, reference, unit, level, resamples)
                rows += [{"class": name, "level": unit, "scope": scope} | row for row in family]
    return pd.DataFrame(rows, columns=list(COMPARISONS))


def _family(
    part: pd.DataFrame, reference: str, unit: str, level: float, resamples: int
) -> list[dict[str, Any]]:
    """All comparisons that share one Holm correction."""
    keys = ["subject", "slide"] if unit == "slides" else ["subject"]
    dice = part.set_index(["subject", "slide", "model"])["dice_foreground"].astype(float).unstack()
    rows = []
    for model in (name for name in part["model"].unique() if name != reference):
        if reference not in dice:
            break
        pairs = (dice[reference] - dice[model]).dropna().groupby(level=keys, sort=False).mean()
        if pairs.empty:
            continue
        values = np.round(pairs.to_numpy(), DECIMALS)
        test = signed_rank(values)
        subjects = [str(key) for key in pairs.index.get_level_values("subject")]
        low, high = shift_interval(values, subjects, 1 - level, resamples)
        rows.append(
            {
                "reference": reference, "model": model, "n": test.n, "n_zero": test.n_zero,
                "median_difference": float(np.median(values)), "shift": hodges_lehmann(values),
                "shift_low": low, "shift_high": high, "confidence": 1 - level,
                "W": test.statistic, "p": test.p, "method": test.method,
            }
        )  # fmt: skip
    for row, adjusted in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = float(adjusted)
        row["result"], row["note"] = _verdict(row, len(rows), level)
    return rows


def _verdict(row: dict[str, Any], family: int, level: float) -> tuple[str, str]:
    """What may be said, and why not more."""
    least = smallest_p(row["n"] - row["n_zero"])
    if least >= level:
        return "n too small", f"n too small: smallest possible p is {least:.3g}"
    if row["p_holm"] < level:
        return ("higher" if row["shift"] > 0 else "lower"), ""
    if family * least >= level:
        after = min(1.0, family * least)
        return (
            "no difference shown",
            f"n too small for {family} comparisons: smallest possible p after Holm is {after:.3g}",
        )
    return "no difference shown", ""
