"""Comparisons of models, by hand."""

import numpy as np
import pytest
from score_tables import slides

from holohisto.statistics.comparisons import comparison_table


def test_one_model_has_nothing_to_compare():
    table = comparison_table(slides({"m": {"a": 0.5}}, {"a": "g"}), "m", 0.05)
    assert len(table) == 0
    assert "p_holm" in table


def test_comparison_by_slides_and_by_subjects():
    ours = {f"s{i}": 0.9 + i / 1000 for i in range(8)}
    theirs = {slide: dice - 0.1 - i / 1000 for i, (slide, dice) in enumerate(ours.items())}
    subjects = {slide: f"r{i // 2}" for i, slide in enumerate(ours)}
    groups = dict.fromkeys(ours, "g")
    table = comparison_table(
        slides({"m": ours, "k": theirs}, groups, subjects=subjects), "m", 0.05
    ).set_index("level")
    row = table.loc["slides"]
    assert (row["n"], row["W"], row["result"], row["note"]) == (8, 0, "higher", "")
    assert np.isnan(row["shift_low"])  # slides of four subjects
    assert row["p"] == pytest.approx(2 / 2**8)
    assert row["shift"] == pytest.approx(0.1035)
    row = table.loc["subjects"]
    assert (row["n"], row["result"]) == (4, "n too small")
    assert row["note"] == "n too small: smallest possible p is 0.125"
    assert (row["p_least"], row["p_least_holm"], row["n_needed"]) == (0.125, 0.125, 6)
    assert (row["effect"], row["confidence"]) == (1.0, 0.95)
    assert np.isnan(row["shift_low"])


def test_pairs_are_slides_that_both_models_have():
    ours = {f"s{i}": 0.9 for i in range(7)}
    theirs = {f"s{i}": 0.8 for i in range(1, 9)}
    groups = {f"s{i}": "g" for i in range(9)}
    table = comparison_table(slides({"m": ours, "k": theirs}, groups), "m", 0.05)
    assert set(table["n"]) == {6}
    assert set(table["method"]) == {"exact"}
    assert table["p"].tolist() == pytest.approx([2 / 2**6] * 2)


def test_holm_counts_the_models_compared():
    ours = {f"s{i}": 0.9 + i / 1000 for i in range(6)}
    others = {
        name: {s: d - gap - i / 500 for i, (s, d) in enumerate(ours.items())}
        for name, gap in (("k", 0.1), ("l", 0.2), ("o", 0.3))
    }
    table = comparison_table(slides({"m": ours, **others}, dict.fromkeys(ours, "g")), "m", 0.05)
    assert table["p_holm"].tolist() == pytest.approx([3 * 2 / 2**6] * 6)
    assert set(table["result"]) == {"no difference shown"}
    assert table["note"].iloc[0] == (
        "n too small for 3 comparisons: smallest possible p after Holm is 0.0938"
    )


def test_ties_neither_turn_the_result_round_nor_hide():
    """Twelve slides are found better and forty empty ones alike: the typical difference is 0."""
    ours = {f"s{i}": 0.8 + i / 100 if i < 12 else 1.0 for i in range(52)}
    theirs = {slide: dice - (0.1 if dice < 1 else 0) for slide, dice in ours.items()}
    table = comparison_table(
        slides(
            {"m": ours, "k": theirs, "o": {"s0": 0.7, "s51": 1.0, "s50": 1.0}},
            dict.fromkeys(ours, "g"),
        ),
        "m",
        0.01,
    ).set_index(["level", "model"])
    row = table.loc[("slides", "k")]
    assert (row["n"], row["n_zero"], row["shift"], row["effect"]) == (52, 40, 0.0, 1.0)
    assert row["p"] == pytest.approx(2 / 2**12)
    assert row["result"] == "higher"
    assert table.loc[("slides", "o"), "note"] == (
        "n too small, 2 of 3 pairs are equal: smallest possible p is 1"
    )


def test_what_no_result_can_be_below_counts_every_comparison_of_the_family():
    """Of two comparisons one has more pairs: its least p leaves more room to the other's."""
    ours = {f"s{i}": 0.9 + i / 1000 for i in range(9)}
    others = {
        "k": {s: d - 0.1 - i / 500 for i, (s, d) in enumerate(ours.items())},
        "l": {f"s{i}": 0.5 + i / 100 for i in range(7)},
    }
    table = comparison_table(slides({"m": ours, **others}, dict.fromkeys(ours, "g")), "m", 0.01)
    rows = table[table["level"] == "slides"].set_index("model")
    assert rows["p_least"].to_dict() == {"k": 2 / 2**9, "l": 2 / 2**7}
    assert rows["p_least_holm"].to_dict() == {"k": 2 * 2 / 2**9, "l": 2 / 2**7}
    assert rows["result"].to_dict() == {"k": "higher", "l": "n too small"}
    assert set(rows["n_needed"]) == {9}


def test_scopes_are_all_and_each_group():
    dice = {f"s{i}": 0.9 for i in range(4)}
    groups = {"s0": "x", "s1": "x", "s2": "y", "s3": "y"}
    worse = {slide: 0.95 + i / 100 for i, slide in enumerate(dice)}
    table = comparison_table(slides({"m": dice, "k": worse}, groups), "m", 0.2)
    assert list(table["scope"]) == ["All", "x", "y"] * 2
    assert table["result"].iloc[0] == "lower"
    assert table["shift"].iloc[0] == pytest.approx(-0.065)


def test_interval_changes_the_signs_of_all_slides_of_a_subject_together():
    """Seven subjects with two slides each: the interval is that of seven, not of fourteen."""
    gaps = [0.01, 0.02, 0.03, 0.05, 0.08, 0.13, 0.21]
    ours = {f"s{i}": 0.9 for i in range(14)}
    theirs = {f"s{i}": 0.9 - gaps[i // 2] for i in range(14)}
    subjects = {slide: f"r{i // 2}" for i, slide in enumerate(ours)}
    table = comparison_table(
        slides({"m": ours, "k": theirs}, dict.fromkeys(ours, "g"), subjects=subjects), "m", 0.05
    ).set_index("level")
    # with 7 subjects only the 3 most extreme of 2^7 patterns at either end are rejected
    low, high = table.loc["subjects", ["shift_low", "shift_high"]]
    assert (low, high) == pytest.approx(((0.01 + 0.03) / 2, (0.08 + 0.21) / 2))
    assert list(table.loc["slides", ["shift_low", "shift_high"]]) == pytest.approx([low, high])


def test_what_no_slide_shows_is_not_compared():
    """Group y has no annotated pixel: models that find nothing there are alike by nature."""
    dice = {f"s{i}": 0.9 if i < 3 else 1.0 for i in range(6)}
    groups = {slide: "x" if d < 1 else "y" for slide, d in dice.items()}
    table = slides({"m": dice, "k": {s: d / 2 for s, d in dice.items()}}, groups)
    table.loc[table["group"] == "y", ["tp", "fn"]] = 0
    assert set(comparison_table(table, "m", 0.05)["scope"]) == {"All", "x"}
    table[["tp", "fn"]] = 0
    assert len(comparison_table(table, "m", 0.05)) == 0
