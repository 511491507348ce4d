"""Numbers of the cohort's statistics, by hand, by brute force and against scipy."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from holohisto.sheet.cells import Row
from holohisto.statistics.distributions import distribution_table
from holohisto.statistics.paired import (
    hodges_lehmann,
    holm,
    pairs_needed,
    shift_interval,
    signed_rank,
    smallest_p,
)
from holohisto.statistics.tables import (
    OBJECTS,
    SLIDES,
    comparison_table,
    group_table,
    object_rows,
    score_rows,
)


def slides(scores: dict[str, dict[str, float]], groups: dict[str, str], tiles=None, subjects=None):
    """slides.tsv from model → slide → Dice."""
    rows = [
        {
            "model": model,
            "slide": slide,
            "class": "glomerulus",
            "group": groups[slide],
            "subject": (subjects or {}).get(slide, slide),
            "split": "test",
            "annotated": "yes",
            "dice_foreground": dice,
            "tile_dice": dice / 2,
            "object_f1": dice / 4,
            "tiles": (tiles or {}).get(slide, 1),
            "tiles_empty": 0,
            "tp": 9,
            "fp": 0,
            "fn": 1,
        }
        for model, values in scores.items()
        for slide, dice in values.items()
    ]
    return pd.DataFrame(rows, columns=list(SLIDES))


def brute_force_p(differences) -> float:
    """Two-sided p over all sign patterns."""
    nonzero = [d for d in differences if d]
    ranks = stats.rankdata(np.abs(nonzero))
    centre = ranks.sum() / 2
    far = abs(ranks[np.array(nonzero) > 0].sum() - centre)
    sums = [
        sum(rank for rank, plus in zip(ranks, signs, strict=True) if plus)
        for signs in itertools.product([0, 1], repeat=len(ranks))
    ]
    return float(np.mean([abs(total - centre) >= far - 1e-9 for total in sums]))


@pytest.mark.parametrize("n", [3, 8, 20, 50])
def test_exact_test_agrees_with_scipy(n):
    differences = np.random.default_rng(n).normal(0.3, 1, n)
    ours, theirs = signed_rank(differences), stats.wilcoxon(differences, method="exact")
    assert ours.method == "exact"
    assert ours.statistic == theirs.statistic
    assert ours.p == pytest.approx(theirs.pvalue, rel=1e-12)


def test_test_of_many_pairs_is_scipys_approximation():
    differences = np.random.default_rng(0).normal(0.2, 1, 51)
    ours, theirs = signed_rank(differences), stats.wilcoxon(differences, method="asymptotic")
    assert (ours.method, ours.p) == ("asymptotic", pytest.approx(theirs.pvalue, rel=1e-12))


@pytest.mark.parametrize(
    "differences",
    [[1, 1, 2, -2, 3, -1], [0, 0, 1, 2, 2, 2, -3], [0.5] * 9, [-1, 1], [4, 4, -4, 1, 1, 1, 2, -2]],
)
def test_ties_and_zeros_are_exact(differences):
    test = signed_rank(differences)
    assert test.p == pytest.approx(brute_force_p(differences), rel=1e-12)
    assert (test.n, test.n_zero) == (len(differences), differences.count(0))


def test_ties_stay_exact_where_scipy_approximates():
    differences = [1.0] * 19 + [-1.0]
    test = signed_rank(differences)
    assert test.method == "exact"
    # equal sizes make it a sign test: 2 (C(20, 0) + C(20, 1)) / 2^20
    assert test.p == pytest.approx(2 * 21 / 2**20, rel=1e-12)


def test_published_example_of_r():
    """wilcox.test's own example (Hollander & Wolfe 1973, p. 29): V = 40, p-value = 0.01953
    one-sided; the Hodges-Lehmann estimate in the book is 0.46."""
    first = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
    second = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
    differences = np.subtract(first, second)
    test = signed_rank(differences)
    assert test.statistic == 45 - 40
    assert test.p == pytest.approx(2 * 0.01953125)
    assert test.effect == pytest.approx((40 - 5) / 45)
    assert hodges_lehmann(differences) == pytest.approx(0.46)


def test_published_example_of_scipy():
    """Heights of maize, cross against self (Darwin), in the documentation of wilcoxon."""
    test = signed_rank([6, 8, 14, 16, 23, 24, 28, 29, 41, -48, 49, 56, 60, -67, 75])
    assert (test.statistic, test.p) == (24.0, 0.041259765625)


def test_zeros_as_pratt_treats_them():
    # |d| ranks with zeros: 1.5 1.5 3 4 5 6; without the zeros' ranks -3 4 5 6: below 3 of 18
    test = signed_rank([0, 0, -1, 2, 3, 4])
    assert test.p == 2 * 2 / 2**4  # sums of ranks 1 to 4 up to 1: {}, {1}
    assert test.p_pratt == 2 * 2 / 2**4  # sums of 3 4 5 6 up to 3: {}, {3}
    test = signed_rank([0, 0, -1, -2, 3, 4])
    assert test.p == 2 * 5 / 2**4  # up to 3: {}, 1, 2, 3, 1 2
    assert test.p_pratt == 2 * 6 / 2**4  # up to 7: {}, 3, 4, 5, 6, 3 4
    many = np.concatenate([np.zeros(9), np.random.default_rng(1).normal(0.3, 1, 60)])
    theirs = stats.wilcoxon(many, zero_method="pratt", method="asymptotic")
    assert signed_rank(many).p_pratt == pytest.approx(theirs.pvalue, rel=1e-12)


def test_effect_is_the_rank_biserial_correlation():
    assert signed_rank([1, 2, 3]).effect == 1.0
    assert signed_rank([-1, -2, -3]).effect == -1.0
    assert signed_rank([1, -1, 0]).effect == 0.0
    # ranks 1 to 4, the third unfavourable: (7 - 3) / 10
    assert signed_rank([0.1, 0.2, -0.3, 0.4]).effect == pytest.approx(0.4)


def test_pairs_needed_is_the_first_number_that_can_reach_the_level():
    assert pairs_needed(0.05, 1) == 6
    assert pairs_needed(0.01, 1) == 8
    assert pairs_needed(0.01, 7) == 11  # seven baselines
    for level, comparisons in ((0.05, 3), (0.01, 2), (0.3, 1)):
        n = pairs_needed(level, comparisons)
        assert holm([smallest_p(n)] * comparisons)[0] < level
        assert holm([smallest_p(n - 1)] * comparisons)[0] >= level


def test_round_off_is_no_difference():
    test = signed_rank([0.1 + 0.2 - 0.3, 1e-12, 0.5])
    assert (test.n, test.n_zero, test.p) == (3, 2, 1.0)


def test_no_difference_at_all():
    test = signed_rank([0.0, 0.0])
    assert (test.n, test.n_zero, test.statistic, test.p) == (2, 2, 0.0, 1.0)


def test_smallest_p_is_reached_when_all_agree():
    for n in range(1, 12):
        assert signed_rank(np.arange(1, n + 1)).p == pytest.approx(smallest_p(n))
    assert smallest_p(7) == pytest.approx(0.015625)
    assert smallest_p(0) == 1.0


def test_holm_by_hand():
    # sorted 0.01, 0.02, 0.03, 0.04: times 4, 3, 2, 1, then never falling
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.6]) == pytest.approx([1.0, 1.0])
    assert holm([]).shape == (0,)


def test_holm_on_the_published_example_of_r():
    """pairwise.t.test(Ozone, Month) of the data set airquality: t tests with one deviation for
    all, whose p R corrects by Holm and prints in its help."""
    months = [
        "41 36 12 18 28 23 19 8 7 16 11 14 18 14 34 6 30 11 1 11 4 32 23 45 115 37",
        "29 71 39 23 21 37 20 12 13",
        "135 49 32 64 40 77 97 97 85 10 27 7 48 35 61 79 63 16 80 108 20 52 82 50 64 59",
        "39 9 16 78 35 66 122 89 110 44 28 65 22 59 23 31 44 21 9 45 168 73 76 118 84 85",
        "96 78 73 91 47 32 20 23 21 24 44 21 28 9 13 46 18 13 24 16 13 23 36 7 14 30 14 18 20",
    ]
    ozone = [np.array(month.split(), float) for month in months]
    free = sum(len(values) - 1 for values in ozone)
    deviation = np.sqrt(sum(((values - values.mean()) ** 2).sum() for values in ozone) / free)
    p = [
        2 * stats.t.sf(abs(one.mean() - other.mean()) / deviation / error, free)
        for one, other in itertools.combinations(ozone, 2)
        for error in [np.sqrt(1 / len(one) + 1 / len(other))]
    ]
    assert holm(p).round(5).tolist() == [
        1.0,
        0.00026,
        0.00019,
        1.0,
        0.05113,
        0.04987,
        1.0,
        1.0,
        0.00488,
        0.00388,
    ]


def test_hodges_lehmann_by_hand():
    # 1, 2, 6 → Walsh means 1, 1.5, 2, 3.5, 4, 6: median 2.75
    assert hodges_lehmann([6, 1, 2]) == 2.75
    assert hodges_lehmann([-0.3]) == -0.3


def test_interval_is_that_of_resampling_in_a_loop():
    random = np.random.default_rng(5)
    values = random.normal(1, 1, 12)
    clusters = [str(i // 2) for i in range(12)]
    low, high = shift_interval(values, clusters, 0.9, 4000, seed=1)
    shifts = []
    for _ in range(4000):
        drawn = random.integers(0, 6, 6)
        shifts.append(hodges_lehmann(np.concatenate([values[2 * i : 2 * i + 2] for i in drawn])))
    assert [low, high] == pytest.approx(np.quantile(shifts, [0.05, 0.95]), abs=0.06)


def test_interval_draws_whole_subjects():
    values = [0.0] * 10 + [1.0] * 10 + [2.0] * 10 + [3.0] * 10 + [4.0] * 10
    alone = shift_interval(values, [str(i) for i in range(50)], 0.95, 1000)
    together = shift_interval(values, [str(i // 10) for i in range(50)], 0.95, 1000)
    assert together[1] - together[0] > 2 * (alone[1] - alone[0])


def test_interval_needs_five_subjects():
    values = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    assert np.isnan(shift_interval(values, ["a", "a", "b", "c", "d", "d"], 0.95, 100)).all()
    low, high = shift_interval(values, ["a", "a", "b", "c", "d", "e"], 0.95, 100)
    assert 0.1 <= low <= high <= 0.6


def test_interval_does_not_depend_on_the_block(monkeypatch):
    values, names = np.random.default_rng(2).normal(0, 1, 9), list("abcdefghi")
    whole = shift_interval(values, names, 0.95, 300)
    monkeypatch.setattr("holohisto.statistics.paired.BOOTSTRAP_CELLS", 1000)
    assert shift_interval(values, names, 0.95, 300) == whole


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


def test_one_model_has_nothing_to_compare():
    table = comparison_table(slides({"m": {"a": 0.5}}, {"a": "g"}), "m", 0.05, 10)
    assert len(table) == 0
    assert "p_holm" in table


def test_comparison_by_slides_and_by_subjects():
    ours = {f"s{i}": 0.9 + i / 1000 for i in range(8)}
    theirs = {slide: dice - 0.1 - i / 1000 for i, (slide, dice) in enumerate(ours.items())}
    subjects = {slide: f"r{i // 2}" for i, slide in enumerate(ours)}
    groups = dict.fromkeys(ours, "g")
    table = comparison_table(
        slides({"m": ours, "k": theirs}, groups, subjects=subjects), "m", 0.05, 200
    ).set_index("level")
    row = table.loc["slides"]
    assert (row["n"], row["W"], row["result"], row["note"]) == (8, 0, "higher", "")
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
    table = comparison_table(slides({"m": ours, "k": theirs}, groups), "m", 0.05, 50)
    assert set(table["n"]) == {6}
    assert set(table["method"]) == {"exact"}
    assert table["p"].tolist() == pytest.approx([2 / 2**6] * 2)


def test_holm_counts_the_models_compared():
    ours = {f"s{i}": 0.9 + i / 1000 for i in range(6)}
    others = {
        name: {s: d - gap - i / 500 for i, (s, d) in enumerate(ours.items())}
        for name, gap in (("k", 0.1), ("l", 0.2), ("o", 0.3))
    }
    table = comparison_table(slides({"m": ours, **others}, dict.fromkeys(ours, "g")), "m", 0.05, 50)
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
        50,
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
    table = comparison_table(slides({"m": ours, **others}, dict.fromkeys(ours, "g")), "m", 0.01, 50)
    rows = table[table["level"] == "slides"].set_index("model")
    assert rows["p_least"].to_dict() == {"k": 2 / 2**9, "l": 2 / 2**7}
    assert rows["p_least_holm"].to_dict() == {"k": 2 * 2 / 2**9, "l": 2 / 2**7}
    assert rows["result"].to_dict() == {"k": "higher", "l": "n too small"}
    assert set(rows["n_needed"]) == {9}


def test_scopes_are_all_and_each_group():
    dice = {f"s{i}": 0.9 for i in range(4)}
    groups = {"s0": "x", "s1": "x", "s2": "y", "s3": "y"}
    worse = {slide: 0.95 + i / 100 for i, slide in enumerate(dice)}
    table = comparison_table(slides({"m": dice, "k": worse}, groups), "m", 0.2, 50)
    assert list(table["scope"]) == ["All", "x", "y"] * 2
    assert table["result"].iloc[0] == "lower"
    assert table["shift"].iloc[0] == pytest.approx(-0.065)


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
