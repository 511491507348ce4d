"""Mean scores of every group of slides: groups.tsv."""

from typing import Any

import numpy as np
import pandas as pd

from holohisto.statistics.distributions import POOLED

ALL = "All"
MEASURES = {
    "dice": "dice_foreground",
    "tile_dice": "tile_dice",
    "f1": "object_f1",
    "boundary_f1": "boundary_f1",
    "kpis2024": "dice_kpis2024",
}
"""Measure in groups.tsv: column of slides.tsv whose mean it is."""
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
    *(f"{measure}_{statistic}" for measure in MEASURES for statistic in ("mean", "sd")),
    "dice_over_tiles",
)


def group_table(slides: pd.DataFrame) -> pd.DataFrame:
    """Means of groups from slides.tsv.

    `All` is the unweighted mean of the groups (the paper's definition), `pooled` the mean over
    all slides. `dice_over_tiles` weighs tiles equally within a group, as the paper does. A slide or
    tile with nothing found and nothing annotated scores 1; `slides_empty` and `tiles_empty` count
    them. Standard deviations are those of a sample (n - 1).

    Args:
        slides: the columns SLIDES, one row per model, slide and class.

    Returns:
        The columns GROUPS, one row per model, class and group, `All` and `pooled` included.
    """
    rows = []
    order = list(slides["group"].unique())
    for (model, name), own in scored(slides).groupby(["model", "class"], sort=False):
        groups = [_means(members) | {"group": group} for group, members in by_group(own, order)]
        unweighted: dict[str, Any] = _means(own) | {"group": ALL}
        for key in (*(f"{measure}_mean" for measure in MEASURES), "dice_over_tiles"):
            unweighted[key] = float(np.mean([float(group[key]) for group in groups]))
        unweighted |= {f"{measure}_sd": float("nan") for measure in MEASURES}
        pooled = _means(own) | {"group": POOLED}
        pretrained = own["pretrained"].iloc[0]
        rows += [
            {"model": model, "pretrained": pretrained, "class": name} | row
            for row in (*groups, unweighted, pooled)
        ]
    return pd.DataFrame(rows, columns=list(GROUPS))


def scored(slides: pd.DataFrame) -> pd.DataFrame:
    """Rows of slides.tsv whose class was annotated on the slide."""
    return slides[slides["dice_foreground"].notna()]


def by_group(slides: pd.DataFrame, order: list[str]) -> list[tuple[str, pd.DataFrame]]:
    """Groups with their rows, in the same order for every model even where slides are missing."""
    members = {str(group): rows for group, rows in slides.groupby("group")}
    return [(group, members[group]) for group in order if group in members]


def _means(slides: pd.DataFrame) -> dict[str, Any]:
    cells: dict[str, Any] = {
        "slides": len(slides),
        "slides_empty": int((slides[["tp", "fp", "fn"]].astype(float).sum(axis=1) == 0).sum()),
        "subjects": slides["subject"].nunique(),
        "tiles": int(slides["tiles"].sum()),
        "tiles_empty": int(slides["tiles_empty"].astype(float).sum()),
    }
    for measure, column in MEASURES.items():
        values = slides[column].astype(float)
        cells[f"{measure}_mean"], cells[f"{measure}_sd"] = values.mean(), values.std(ddof=1)
    weights = slides["tiles"].astype(float)
    total = (slides["tile_dice"].astype(float) * weights).sum()
    cells["dice_over_tiles"] = total / weights.sum() if weights.sum() else float("nan")
    return cells
