"""Paired tests by hand, by brute force and against scipy."""

import itertools

import numpy as np
import pytest
from scipy import stats

from holohisto.statistics.paired import (
    hodges_lehmann,
    holm,
    pairs_needed,
    signed_rank,
    smallest_p,
)


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


def test_pairs_needed_is_the_first_number_that_can_reach_alpha():
    assert pairs_needed(0.05, 1) == 6
    assert pairs_needed(0.01, 1) == 8
    assert pairs_needed(0.01, 7) == 11  # seven baselines
    for alpha, comparisons in ((0.05, 3), (0.01, 2), (0.3, 1)):
        n = pairs_needed(alpha, comparisons)
        assert holm([smallest_p(n)] * comparisons)[0] < alpha
        assert holm([smallest_p(n - 1)] * comparisons)[0] >= alpha


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
