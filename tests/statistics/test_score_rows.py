"""Rows of slides and objects, and the distributions over them, by hand."""

import pandas as pd
import pytest

from holohisto.sheet.cells import Row
from holohisto.statistics.distributions import distribution_table
from holohisto.statistics.groups import group_table
from holohisto.statistics.rows import OBJECTS, SLIDES, object_rows, score_rows

RECORD = {
    "model": "m",
    "classes": {
        "tuft": {
            "annotated": True,
            "foreground": {"tp": 8, "fp": 2, "fn": 2, "dice": 0.8},
            "everywhere": {"tp": 8, "fp": 2, "fn": 4, "dice": 0.727},
            "tiles": [{"xy": [0, 0], "dice": 0.8}],
            "tile_dice": 0.8,
            "tiles_empty": 0,
            "outside_foreground": 2,
            "objects": {"tp": 1, "fp": 0, "fn": 1, "precision": 1, "recall": 0.5, "f1": 0.667},
            "boundary": {"tolerance_um": 2.0, "precision": 0.9, "recall": 0.6, "f1": 0.72},
            "objects_found": 1,
            "area_found_um2": 9.0,
            "objects_annotated": 2,
            "area_annotated_um2": 12.5,
            "kpis2024": {"task": "slide", "tp": 8, "fp": 2, "fn": 0, "dice": 0.889},
            "object_table": [
                {"area_um2": 9.0, "x": 1.5, "y": 2.5, "probability": 0.9, "matched": True}
            ],
        },
        "capsule": {
            "annotated": False,
            "objects_found": 1,
            "area_found_um2": 5.0,
            "object_table": [
                {"area_um2": 5.0, "x": 1, "y": 2, "probability": 0.7, "matched": None}
            ],
        },
    },
}
ROW = Row("s1", "s1.tiff", "test", subject=None, group=None)  # pyright: ignore


def test_rows_of_a_metrics_record():
    tuft, capsule = score_rows(RECORD, ROW)
    assert (tuft["dice_foreground"], tuft["dice_everywhere"], tuft["tiles"]) == (0.8, 0.727, 1)
    assert (tuft["group"], tuft["subject"], tuft["annotated"]) == ("ungrouped", "s1", "yes")
    assert (tuft["objects_fn"], tuft["object_recall"], tuft["outside_foreground"]) == (1, 0.5, 2)
    assert (tuft["boundary_precision"], tuft["boundary_f1"]) == (0.9, 0.72)
    assert (tuft["objects_found"], tuft["objects_annotated"]) == (1, 2)
    assert (tuft["area_annotated_um2"], tuft["dice_kpis2024"]) == (12.5, 0.889)
    assert set(tuft) == set(capsule) == set(SLIDES)
    assert capsule["annotated"] == "no"
    assert (capsule["objects_found"], capsule["area_found_um2"]) == (1, 5.0)
    assert capsule["objects_annotated"] is None
    assert capsule["dice_foreground"] is None
    assert capsule["tiles"] is None


def test_unannotated_classes_have_objects_and_no_match():
    first, second = object_rows(RECORD, ROW)
    assert (first["area_um2"], first["x"], first["matched"]) == (9.0, 1.5, "yes")
    assert list(first) == list(OBJECTS)
    assert (second["class"], second["matched"]) == ("capsule", None)


def test_distributions_by_hand():
    """Groups, then all objects together; slides without objects count."""
    scored = pd.DataFrame(
        {
            "model": "m",
            "pretrained": "scratch",
            "class": "t",
            "slide": list("abc"),
            "group": ["x", "x", "y"],
            "objects_annotated": [3, None, 2],
            "objects_found": [4, 1, 1],
        }
    )
    objects = pd.DataFrame(
        {
            "model": "m",
            "slide": list("aaaaac"),
            "class": "t",
            "group": list("xxxxxy"),
            "area_um2": [1.0, 2, 3, 4, 5, 60],
            "probability": [0.5, 0.6, 0.7, 0.8, 0.9, 0.2],
            "matched": ["yes", "no", "yes", "yes", None, "no"],
        }
    )
    x, y, pooled = distribution_table(objects, scored).to_dict("records")
    assert (x["group"], x["pretrained"], x["slides"], x["objects"]) == ("x", "scratch", 2, 5)
    assert (x["objects_per_slide"], x["slides_annotated"]) == (2.5, 1)
    assert (x["annotated_per_slide"], x["found_per_annotated"]) == (3.0, 4.0)
    assert (pooled["annotated_per_slide"], pooled["found_per_annotated"]) == (2.5, 2.5)
    assert [x[f"area_p{q}_um2"] for q in (5, 25, 50, 75, 95)] == pytest.approx([1.2, 2, 3, 4, 4.8])
    assert (x["probability_median"], x["matched_share"]) == (0.7, 0.75)
    assert (y["objects"], y["area_p50_um2"], y["matched_share"]) == (1, 60.0, 0.0)
    assert (pooled["group"], pooled["slides"], pooled["objects"]) == ("pooled", 3, 6)
    assert (pooled["area_p50_um2"], pooled["matched_share"]) == (3.5, 0.6)


def test_unannotated_classes_are_in_no_mean():
    table = pd.DataFrame(score_rows(RECORD, ROW), columns=list(SLIDES))
    assert set(group_table(table)["class"]) == {"tuft"}
