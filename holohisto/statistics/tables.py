"""The cohort's tables: slides, objects, groups and comparisons."""

from typing import Any

import numpy as np
import pandas as pd

from holohisto.sheet.cells import Row
from holohisto.statistics.distributions import POOLED
from holohisto.statistics.paired import (
    DECIMALS,
    hodges_lehmann,
    holm,
    pairs_needed,
    shift_interval,
    signed_rank,
    smallest_p,
)

ALL, UNGROUPED = "All", "ungrouped"
MEASURES = {
    "dice": "dice_foreground",
    "tile_dice": "tile_dice",
    "f1": "object_f1",
    "boundary_f1": "boundary_f1",
    "kpis2024": "dice_kpis2024",
}
"""Measure in groups.tsv: column of slides.tsv it is the mean of."""
SLIDES = (
    "model",
    "pretrained",
    "slide",
    "class",
    "group",
    "subject",
    "split",
    "annotated",
    "dice_foreground",
    "dice_everywhere",
    "tile_dice",
    "tiles",
    "tiles_empty",
    "object_precision",
    "object_recall",
    "object_f1",
    "objects_tp",
    "objects_fp",
    "objects_fn",
    "tp",
    "fp",
    "fn",
    "outside_foreground",
    "boundary_precision",
    "boundary_recall",
    "boundary_f1",
    "objects_found",
    "objects_annotated",
    "area_found_um2",
    "area_annotated_um2",
    "dice_kpis2024",
)
OBJECTS = (
    "model",
    "pretrained",
    "slide",
    "class",
    "group",
    "area_um2",
    "x",
    "y",
    "probability",
    "matched",
    "iou",
)
GROUPS = (
    "model",
    "pretrained",
    "class",
    "group",
    "slides",
    "slides_empty",
    "subjects",
    "tiles",
    "tiles_empty",
    *(f"{measure}_{what}" for measure in MEASURES for what in ("mean", "sd")),
    "dice_over_tiles",
)
COMPARISONS = (
    "class",
    "level",
    "scope",
    "reference",
    "model",
    "reference_pretrained",
    "pretrained",
    "n",
    "n_zero",
    "median_difference",
    "shift",
    "shift_low",
    "shift_high",
    "confidence",
    "effect",
    "W",
    "p",
    "p_pratt",
    "method",
    "p_holm",
    "p_least",
    "p_least_holm",
    "n_needed",
    "result",
    "note",
)


def score_rows(record: dict[str, Any], row: Row) -> list[dict[str, Any]]:
    """Rows of slides.tsv, one a class, from the metrics of one model on one slide.

    What was found is told of every class; scores only of those annotated on the slide.
    """
    rows = []
    for name, scores in record["classes"].items():
        known = bool(scores.get("annotated", True))
        objects, foreground = scores.get("objects") or {}, scores.get("foreground") or {}
        boundary = scores.get("boundary") or {}
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
            **{f"boundary_{key}": boundary.get(key) for key in ("precision", "recall", "f1")},
            **{key: scores.get(key) for key in ("objects_annotated", "area_annotated_um2")},
            "dice_kpis2024": (scores.get("kpis2024") or {}).get("dice"),
        }
        rows.append(
            {
                "model": record["model"],
                "pretrained": record.get("pretrained", ""),
                "slide": row.slide,
                "class": name,
                "group": group_of(row),
                "subject": row.subject or row.slide,
                "split": row.split,
                "annotated": "yes" if known else "no",
                **{key: scores.get(key) for key in ("objects_found", "area_found_um2")},
                **(cells if known else dict.fromkeys(cells)),
            }
        )
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
                    "model": record["model"],
                    "pretrained": record.get("pretrained", ""),
                    "slide": row.slide,
                    "class": name,
                    "group": group_of(row),
                    **cells,
                    "matched": matched,
                    "iou": item.get("iou"),
                }
            )
    return rows


def group_of(row: Row) -> str:
    """Group of a slide; slides without one form a group of their own."""
    return row.group or UNGROUPED


def group_table(slides: pd.DataFrame) -> pd.DataFrame:
    """Means of groups from slides.tsv.

    `All` is the unweighted mean of the groups (the paper's definition), `pooled` the mean over
    all slides. `dice_over_tiles` weighs tiles equally within a group, as the paper does. A slide or
    tile with nothing found and nothing annotated scores 1; `slides_empty` and `tiles_empty` say how
    many there are.
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
        init = part["pretrained"].iloc[0]
        rows += [
            {"model": model, "pretrained": init, "class": name} | row
            for row in (*groups, unweighted, pooled)
        ]
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
        "slides_empty": int((part[["tp", "fp", "fn"]].astype(float).sum(axis=1) == 0).sum()),
        "subjects": part["subject"].nunique(),
        "tiles": int(part["tiles"].sum()),
        "tiles_empty": int(part["tiles_empty"].astype(float).sum()),
    }
    for measure, column in MEASURES.items():
        values = part[column].astype(float)
        cells[f"{measure}_mean"], cells[f"{measure}_sd"] = values.mean(), values.std(ddof=1)
    weights = part["tiles"].astype(float)
    total = (part["tile_dice"].astype(float) * weights).sum()
    cells["dice_over_tiles"] = total / weights.sum() if weights.sum() else float("nan")
    return cells


def comparison_table(
    slides: pd.DataFrame, reference: str, level: float, resamples: int, confidence: float = 0.95
) -> pd.DataFrame:
    """Slide Dice of the reference against every other model, paired on slides and on subjects.

    Positive differences mean that the reference scores higher. p is Holm-corrected over the
    compared models, within class, level and scope; `p_least` and `p_least_holm` are what p and
    `p_holm` would be if all pairs of every comparison agreed: no result can be smaller.
    `n_needed` pairs with a difference are the fewest that could reach the level.
    """
    rows = []
    order = list(slides["group"].unique())
    for name, part in _scored(slides).groupby("class", sort=False):
        scopes = [(ALL, part), *(_by_group(part, order) if part["group"].nunique() > 1 else ())]
        for unit in ("slides", "subjects"):
            for scope, members in scopes:
                family = _family(members, reference, unit, level, (confidence, resamples))
                rows += [{"class": name, "level": unit, "scope": scope} | row for row in family]
    return pd.DataFrame(rows, columns=list(COMPARISONS))


def _family(
    part: pd.DataFrame, reference: str, unit: str, level: float, interval: tuple[float, int]
) -> list[dict[str, Any]]:
    """All comparisons that share one Holm correction; `interval`: confidence and resamples."""
    keys = ["subject", "slide"] if unit == "slides" else ["subject"]
    dice = part.set_index(["subject", "slide", "model"])["dice_foreground"].astype(float).unstack()
    inits = dict(zip(part["model"], part["pretrained"], strict=True))
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
        low, high = shift_interval(values, subjects, *interval)
        rows.append(
            {
                "reference": reference,
                "model": model,
                "reference_pretrained": inits[reference],
                "pretrained": inits[model],
                "n": test.n,
                "n_zero": test.n_zero,
                "median_difference": float(np.median(values)),
                "shift": hodges_lehmann(values),
                "shift_low": low,
                "shift_high": high,
                "confidence": interval[0],
                "effect": test.effect,
                "W": test.statistic,
                "p": test.p,
                "p_pratt": test.p_pratt,
                "method": test.method,
                "p_least": smallest_p(test.n - test.n_zero),
            }
        )
    adjusted, least = (holm([row[key] for row in rows]).tolist() for key in ("p", "p_least"))
    for row, p, lowest in zip(rows, adjusted, least, strict=True):
        row |= {"p_holm": p, "p_least_holm": lowest, "n_needed": pairs_needed(level, len(rows))}
        row["result"], row["note"] = _verdict(row, len(rows), level)
    return rows


def _verdict(row: dict[str, Any], family: int, level: float) -> tuple[str, str]:
    """What may be said, and why not more."""
    if row["p_least"] >= level:
        return (
            "n too small",
            f"n too small{_ties(row)}: smallest possible p is {row['p_least']:.3g}",
        )
    if row["p_holm"] < level:
        return ("higher" if row["effect"] > 0 else "lower"), ""
    if row["p_least_holm"] >= level:
        return (
            "no difference shown",
            f"n too small for {family} comparisons{_ties(row)}: smallest possible p after Holm is"
            f" {row['p_least_holm']:.3g}",
        )
    return "no difference shown", ""


def _ties(row: dict[str, Any]) -> str:
    """Pairs without a difference, which no test can use."""
    return f", {row['n_zero']} of {row['n']} pairs are equal" if row["n_zero"] else ""
