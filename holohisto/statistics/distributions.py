"""How large and how many the objects of each group are."""

from typing import Any

import pandas as pd

POOLED = "pooled"
QUANTILES = (5, 25, 50, 75, 95)
"""Percentiles of the area."""
DISTRIBUTIONS = (
    "model",
    "pretrained",
    "class",
    "group",
    "slides",
    "objects",
    "objects_per_slide",
    "slides_annotated",
    "annotated_per_slide",
    "found_per_annotated",
    *(f"area_p{percent}_um2" for percent in QUANTILES),
    "probability_median",
    "matched_share",
)


def distribution_table(objects: pd.DataFrame, slides: pd.DataFrame) -> pd.DataFrame:
    """Objects of every model, class and group, from objects.tsv and slides.tsv.

    A percentile is over all objects of the group's slides, each counting the same; `pooled` is over
    all groups. Slides without any object count in `objects_per_slide`. `annotated_per_slide`,
    `found_per_annotated` (objects found a slide) and `matched_share` are over the slides on which
    the class was annotated.
    """
    rows = []
    for (model, name), scored in slides.groupby(["model", "class"], sort=False):
        own = objects[(objects["model"] == model) & (objects["class"] == name)]
        groups = [str(group) for group in scored["group"].unique()]
        parts = [(g, own[own["group"] == g], scored[scored["group"] == g]) for g in groups]
        known = {"model": model, "pretrained": scored["pretrained"].iloc[0], "class": name}
        for group, found, where in (*parts, (POOLED, own, scored)):
            rows.append({**known, "group": group, **_cells(found, where)})
    return pd.DataFrame(rows, columns=list(DISTRIBUTIONS))


def _cells(found: pd.DataFrame, slides: pd.DataFrame) -> dict[str, Any]:
    areas = found["area_um2"].astype(float)
    annotated = slides["objects_annotated"].astype(float)
    beside = slides.loc[annotated.notna(), "objects_found"].astype(float)
    told = found["matched"].dropna()
    return {
        "slides": len(slides),
        "objects": len(found),
        "objects_per_slide": len(found) / len(slides),
        "slides_annotated": len(beside),
        "annotated_per_slide": annotated.mean(),
        "found_per_annotated": beside.mean(),
        **{f"area_p{percent}_um2": areas.quantile(percent / 100) for percent in QUANTILES},
        "probability_median": found["probability"].astype(float).median(),
        "matched_share": float((told == "yes").mean()) if len(told) else float("nan"),
    }
