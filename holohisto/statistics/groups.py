"""Mean scores of every group of slides: groups.tsv."""

from typing import Any

import numpy as np
import pandas as pd

from holohisto.statistics.distributions import POOLED
from holohisto.statistics.intervals import mean_interval, mean_of_means_interval

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
    "slides_showing",
    "subjects",
    "tiles",
    "tiles_empty",
    *(f"{measure}_{statistic}" for measure in MEASURES for statistic in ("mean", "sd")),
    "dice_over_tiles",
    "dice_low",
    "dice_high",
    "confidence",
)


def group_table(slides: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """Means of groups from slides.tsv.

    `All` is the unweighted mean of the groups (the paper's definition), `pooled` the mean over
    all slides. `dice_over_tiles` weighs tiles equally within a group, as the paper does. A slide or
    tile with nothing found and nothing annotated scores 1; `slides_empty` and `tiles_empty` count
    them. A group without any slide that shows the class (`slides_showing` is 0) has no scores and
    is no part of `All`: they would say only whether a model finds anything at all. Standard
    deviations are those of a sample (n - 1). `dice_low` and `dice_high` are the interval of the
    mean over subjects (`mean_interval`); for `All` it is melded from those of the groups.

    Args:
        slides: the columns SLIDES, one row per model, slide and class.
        confidence: coverage of the intervals, 0 to 1.

    Returns:
        The columns GROUPS, one row per model, class and group, `All` and `pooled` included.
    """
    rows = []
    order = list(slides["group"].unique())
    for (model, name), own in scored(slides).groupby(["model", "class"], sort=False):
        members = by_group(own, order)
        showing = [rows for _, rows in members if shows_class(rows).any()]
        groups = [_means(rows, confidence) | {"group": group} for group, rows in members]
        pooled = _means(own, confidence) | {"group": POOLED}
        pretrained = own["pretrained"].iloc[0]
        rows += [
            {"model": model, "pretrained": pretrained, "class": name} | row
            for row in (*groups, pooled | _unweighted(groups, showing, confidence), pooled)
        ]
    return pd.DataFrame(rows, columns=list(GROUPS))


def scored(slides: pd.DataFrame) -> pd.DataFrame:
    """Rows of slides.tsv whose class was annotated on the slide."""
    return slides[slides["dice_foreground"].notna()]


def shows_class(slides: pd.DataFrame) -> pd.Series:
    """Whether at least one pixel of a slide is annotated, by row of slides.tsv."""
    return slides[["tp", "fn", "outside_foreground"]].astype(float).sum(axis=1) > 0


def by_group(slides: pd.DataFrame, order: list[str]) -> list[tuple[str, pd.DataFrame]]:
    """Groups with their rows, in the same order for every model even where slides are missing."""
    members = {str(group): rows for group, rows in slides.groupby("group")}
    return [(group, members[group]) for group in order if group in members]


def _unweighted(
    groups: list[dict[str, Any]], showing: list[pd.DataFrame], confidence: float
) -> dict[str, Any]:
    """Cells of `All`: means of the groups' means, and no standard deviation.

    Args:
        groups: cells of every group.
        showing: rows of the groups that show the class.
        confidence: of the interval.
    """
    means = pd.DataFrame(groups)[[*(f"{measure}_mean" for measure in MEASURES), "dice_over_tiles"]]
    cells = {"group": ALL, **means.astype(float).mean().to_dict()}
    cells |= {f"{measure}_sd": float("nan") for measure in MEASURES}
    if showing:
        dice = [_subject_dice(rows) for rows in showing]
        cells["dice_low"], cells["dice_high"] = mean_of_means_interval(dice, confidence)
    return cells


def _means(slides: pd.DataFrame, confidence: float) -> dict[str, Any]:
    showing = shows_class(slides)
    cells: dict[str, Any] = {
        "slides": len(slides),
        "slides_empty": int((slides[["tp", "fp", "fn"]].astype(float).sum(axis=1) == 0).sum()),
        "slides_showing": int(showing.sum()),
        "subjects": slides["subject"].nunique(),
        "tiles": int(slides["tiles"].sum()),
        "tiles_empty": int(slides["tiles_empty"].astype(float).sum()),
        "confidence": confidence,
    }
    if not showing.any():
        means = (f"{measure}_mean" for measure in MEASURES)
        return cells | dict.fromkeys((*means, "dice_over_tiles"), float("nan"))
    for measure, column in MEASURES.items():
        values = slides[column].astype(float)
        cells[f"{measure}_mean"], cells[f"{measure}_sd"] = values.mean(), values.std(ddof=1)
    weights = slides["tiles"].astype(float)
    total = (slides["tile_dice"].astype(float) * weights).sum()
    cells["dice_over_tiles"] = total / weights.sum() if weights.sum() else float("nan")
    cells["dice_low"], cells["dice_high"] = mean_interval(_subject_dice(slides), confidence)
    return cells


def _subject_dice(slides: pd.DataFrame) -> np.ndarray:
    """Mean slide Dice of every subject, (subjects,) float64."""
    return slides.groupby("subject")["dice_foreground"].mean().to_numpy(np.float64)
