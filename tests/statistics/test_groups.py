"""Means of groups, by hand."""

import numpy as np
import pytest
from score_tables import slides

from holohisto.statistics.cohort import absent_lines, overall_lines
from holohisto.statistics.groups import group_table
from holohisto.statistics.intervals import mean_interval, mean_of_means_interval


def test_all_is_the_unweighted_mean_of_groups_as_in_the_paper():
    dice = {"a": 93.77, "b": 92.45, "c": 94.81, "d": 94.12, "e": 94.12, "f": 94.12}
    groups = {"a": "56Nx", "b": "DN", "c": "NEP25", "d": "normal", "e": "normal", "f": "normal"}
    table = group_table(slides({"m": dice}, groups)).set_index("group")
    assert round(table.loc["All", "dice_mean"], 2) == 93.79
    assert table.loc["pooled", "dice_mean"] == pytest.approx(sum(dice.values()) / 6)
    assert table.loc["All", "slides"] == 6
    assert list(table.index) == ["56Nx", "DN", "NEP25", "normal", "All", "pooled"]


def test_group_mean_and_deviation_by_hand():
    table = group_table(
        slides({"m": {"a": 0.5, "b": 0.9}}, {"a": "g", "b": "g"}, tiles={"a": 3, "b": 1})
    ).set_index("group")
    row = table.loc["g"]
    assert row["dice_mean"] == pytest.approx(0.7)
    assert row["dice_sd"] == pytest.approx(np.sqrt(0.08))
    assert row["tile_dice_mean"] == pytest.approx(0.35)
    assert row["f1_mean"] == pytest.approx(0.175)
    assert row["tiles"] == 4
    assert row["dice_over_tiles"] == pytest.approx((3 * 0.25 + 0.45) / 4)
    assert np.isnan(table.loc["All", "dice_sd"])


def test_empty_slides_and_tiles_are_counted():
    table = slides({"m": {"a": 1.0, "b": 0.9, "c": 1.0}}, {"a": "g", "b": "g", "c": "h"})
    table.loc[table["slide"] == "a", ["tp", "fp", "fn"]] = 0
    table["tiles"], table["tiles_empty"] = [4, 6, 5], [4, 1, 0]
    means = group_table(table).set_index("group")
    assert means["slides_empty"].to_dict() == {"g": 1, "h": 0, "All": 1, "pooled": 1}
    assert means["tiles_empty"].to_dict() == {"g": 5, "h": 0, "All": 5, "pooled": 5}
    assert means.loc["g", "dice_mean"] == pytest.approx(0.95)


def test_what_no_model_has_has_no_mean():
    means = group_table(slides({"m": {"a": 0.5, "b": 0.9}}, {"a": "g", "b": "h"}))
    assert means["kpis2024_mean"].isna().all()


def test_groups_stand_in_the_same_order_for_models_that_lack_slides():
    groups = {"a": "x", "b": "y", "c": "x"}
    table = group_table(slides({"m": {"a": 1, "b": 1}, "k": {"b": 1, "c": 1}}, groups))
    assert list(table[table["model"] == "k"]["group"]) == ["x", "y", "All", "pooled"]


def test_a_group_that_does_not_show_the_class_has_no_dice_of_one():
    """Nothing annotated and nothing found on the slides of h: no score there, none in All."""
    table = slides(
        {"m": {"a": 0.6, "b": 0.8, "c": 1.0, "d": 1.0}}, {"a": "g", "b": "g", "c": "h", "d": "h"}
    )
    table.loc[table["group"] == "h", ["tp", "fn"]] = 0
    means = group_table(table).set_index("group")
    assert means["slides_showing"].to_dict() == {"g": 2, "h": 0, "All": 2, "pooled": 2}
    scores = ["dice_mean", "tile_dice_mean", "f1_mean", "dice_over_tiles", "dice_sd", "dice_low"]
    assert means.loc["h", scores].isna().all()
    assert means.loc["All", "dice_mean"] == pytest.approx(0.7)
    assert means.loc["All", "f1_mean"] == pytest.approx(0.175)
    assert means.loc["pooled", "dice_mean"] == pytest.approx(0.85)
    lines = list(absent_lines(means.reset_index()))
    assert lines == [
        "glomerulus: no scored slide of group h shows this class, so it has no score there"
    ]


def test_a_class_that_no_slide_shows_has_no_score():
    table = slides({"m": {"a": 1.0, "b": 1.0}}, {"a": "g", "b": "h"})
    table[["tp", "fn"]] = 0
    means = group_table(table)
    assert means[["dice_mean", "f1_mean", "dice_over_tiles", "dice_high"]].isna().all(axis=None)
    assert list(overall_lines(means)) == []
    assert list(absent_lines(means)) == [
        "glomerulus: no scored slide shows this class, so it has no score there"
    ]


def test_annotation_outside_the_tissue_shows_the_class():
    table = slides({"m": {"a": 0.0}}, {"a": "g"})
    table[["tp", "fn"]] = 0
    table["outside_foreground"] = 7
    assert group_table(table).set_index("group").loc["g", "dice_mean"] == 0.0


def test_intervals_of_means_are_over_subjects():
    dice = {"a": 0.5, "b": 0.7, "c": 0.9, "d": 0.8}
    subjects = {"a": "r", "b": "r", "c": "s", "d": "t"}
    groups = {"a": "g", "b": "g", "c": "g", "d": "h"}
    means = group_table(slides({"m": dice}, groups, subjects=subjects), 0.9).set_index("group")
    ends = ["dice_low", "dice_high"]
    assert tuple(means.loc["g", ends]) == mean_interval([0.6, 0.9], 0.9)
    assert tuple(means.loc["h", ends]) == mean_interval([0.8], 0.9)
    assert tuple(means.loc["All", ends]) == mean_of_means_interval([[0.6, 0.9], [0.8]], 0.9)
    assert tuple(means.loc["pooled", ends]) == mean_interval([0.6, 0.9, 0.8], 0.9)
    assert set(means["confidence"]) == {0.9}
