"""Number, size and probability of the objects in each group: distributions.tsv."""

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

    Percentiles are over all objects of the group's slides, each counting the same; `pooled` is over
    all groups. Slides without any object count in `objects_per_slide`. `annotated_per_slide`,
    `found_per_annotated` (objects found per annotated slide) and `matched_share` are over the
    slides on which the class is annotated.

    Args:
        objects: the columns OBJECTS, one row per predicted object; areas in square micrometres.
        slides: the columns SLIDES, one row per model, slide and class.

    Returns:
        The columns DISTRIBUTIONS, one row per model, class and group, `pooled` included.
    """
    rows = []
    for (model, name), scored in slides.groupby(["model", "class"], sort=False):
        own = objects[(objects["model"] == model) & (objects["class"] == name)]
        groups = [str(group) for group in scored["group"].unique()]
        members = [(g, own[own["group"] == g], scored[scored["group"] == g]) for g in groups]
        first = {"model": model, "pretrained": scored["pretrained"].iloc[0], "class": name}
        for group, group_objects, group_slides in (*members, (POOLED, own, scored)):
            rows.append({**first, "group": group, **_cells(group_objects, group_slides)})
    return pd.DataFrame(rows, columns=list(DISTRIBUTIONS))


def _cells(objects: pd.DataFrame, slides: pd.DataFrame) -> dict[str, Any]:
    areas = objects["area_um2"].astype(float)
    annotated = slides["objects_annotated"].astype(float)
    found_beside = slides.loc[annotated.notna(), "objects_found"].astype(float)
    matched = objects["matched"].dropna()
    return {
        "slides": len(slides),
        "objects": len(objects),
        "objects_per_slide": len(objects) / len(slides),
        "slides_annotated": len(found_beside),
        "annotated_per_slide": annotated.mean(),
        "found_per_annotated": found_beside.mean(),
        **{f"area_p{percent}_um2": areas.quantile(percent / 100) for percent in QUANTILES},
        "probability_median": objects["probability"].astype(float).median(),
        "matched_share": float((matched == "yes").mean()) if len(matched) else float("nan"),
    }
