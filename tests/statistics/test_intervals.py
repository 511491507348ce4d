"""Intervals by hand, against published examples, and their level by simulation."""

import itertools

import numpy as np
import pytest
from scipy import stats

from holohisto.statistics.intervals import mean_interval, mean_of_means_interval, shift_interval
from holohisto.statistics.paired import hodges_lehmann, signed_rank


def alone(values, confidence: float = 0.95) -> tuple[float, float]:
    """The interval where every difference has a subject of its own."""
    return shift_interval(values, [str(k) for k in range(len(values))], confidence)


def test_published_example_of_r():
    """wilcox.test(depression$x, depression$y, paired = TRUE, conf.int = TRUE), data of its help
    (Hollander & Wolfe 1973, p. 29): 0.010 to 0.786, the 96.1 % interval of the book."""
    first = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
    second = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
    assert alone(np.subtract(first, second)) == pytest.approx((0.010, 0.786))


@pytest.mark.parametrize("n", [6, 9, 13, 30])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_ends_are_order_statistics_of_the_walsh_averages(n, confidence):
    """The k-th from either end, with k the largest for which P(T < k) <= (1 - confidence) / 2."""
    values = np.random.default_rng(n).normal(0.3, 1, n).round(6)
    first, second = np.triu_indices(n)
    averages = np.sort((values[first] + values[second]) / 2)
    ways = np.ones(1)
    for rank in range(1, n + 1):
        ways = np.convolve(ways, [1, *[0] * (rank - 1), 1])
    below = np.cumsum(ways) / 2**n
    k = int((below <= (1 - confidence) / 2).sum())
    assert alone(values, confidence) == pytest.approx((averages[k - 1], averages[-k]))


def test_six_subjects_are_the_fewest_for_95_percent():
    values = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    assert alone(values) == (0.1, 0.6)
    assert np.isnan(alone(values[:5])).all()
    assert np.isnan(alone(values, 0.99)).all()
    assert alone([*values, 0.7, 0.8], 0.99) == (0.1, 0.8)
    assert np.isnan(shift_interval(values, list("aabcde"), 0.95)).all()
    assert np.isnan(alone([])).all()


@pytest.mark.parametrize("n", [8, 15, 60])
def test_interval_agrees_with_the_test(n):
    """Shifts within are not rejected by `signed_rank`, those outside are."""
    values = np.random.default_rng(n).normal(0.3, 1, n).round(3)
    low, high = alone(values)
    for shift in (low + 1e-5, hodges_lehmann(values), high - 1e-5):
        assert signed_rank(values - shift).p > 0.05
    for shift in (low - 1e-5, high + 1e-5):
        assert signed_rank(values - shift).p <= 0.05


def test_ties_and_zeros_count():
    """Forty equal pairs and twelve better by 0.1: the typical difference is 0, which is within."""
    assert alone([0.0] * 40 + [0.1] * 12) == (0.0, 0.05)
    assert alone([0.1] * 6) == (0.1, 0.1)
    assert alone([0.0] * 7) == (0.0, 0.0)
    low, high = alone([0.1, 0.1, 0.1, 0.2, 0.2, 0.0, 0.0])
    assert (low, high) == (0.0, 0.2)


def test_signs_of_a_subject_change_together():
    """By all 2^7 patterns of seven subjects, with one to three slides each."""
    random = np.random.default_rng(3)
    member = np.array([0, 0, 0, 1, 1, 2, 3, 3, 4, 5, 5, 6])
    values = (random.normal(1, 1, 7)[member] + random.normal(0, 0.3, 12)).round(2)
    low, high = shift_interval(values, [f"r{k}" for k in member], 0.9)

    def p_above(shift: float) -> float:
        residuals = (values - shift).round(9)
        signed = np.sign(residuals) * stats.rankdata(np.abs(residuals))
        sums = np.abs(np.bincount(member, signed))
        patterns = [np.dot(signs, sums) for signs in itertools.product([-1, 1], repeat=7)]
        return float(np.mean([total >= signed.sum() - 1e-9 for total in patterns]))

    assert p_above(low - 1e-4) <= 0.05 < p_above(low + 1e-4)
    values, low, high = -values, -high, -low
    assert p_above(low - 1e-4) <= 0.05 < p_above(low + 1e-4)


def level(draw, truth: float, n: int, repeats: int, interval) -> float:
    """Share of drawn samples whose interval holds the truth."""
    random = np.random.default_rng(n)
    ends = [interval(draw(random, n)) for _ in range(repeats)]
    return float(np.mean([low - 1e-9 <= truth <= high + 1e-9 for low, high in ends]))


@pytest.mark.parametrize("n", [6, 8, 12, 20])
def test_shifts_keep_their_level(n):
    """Differences of two skewed Dice; 0.93 is three errors of 1,000 draws below 0.95."""

    def dice(random, n):
        return random.beta(9, 1, n) - random.beta(9, 1, n)

    assert level(dice, 0.0, n, 1000, alone) >= 0.93


@pytest.mark.parametrize("n", [5, 6, 8, 12, 20])
def test_means_keep_their_level_where_student_does_not(n):
    """Dice about 0.9 of which one in twenty is 0, as where a slide fails."""

    def dice(random, n):
        return np.where(random.random(n) < 0.05, 0, random.beta(45, 5, n))

    def student(values):
        return stats.t.interval(0.95, n - 1, values.mean(), values.std(ddof=1) / np.sqrt(n))

    truth = 0.95 * 0.9
    assert level(dice, truth, n, 200, lambda values: mean_interval(values, 0.95)) >= 0.93
    assert level(dice, truth, n, 200, student) < 0.85


def test_scores_of_0_and_1_have_the_interval_of_clopper_and_pearson():
    for ones, n in ((5, 5), (3, 8), (0, 6), (19, 20)):
        exact = stats.binomtest(ones, n).proportion_ci()
        low, high = mean_interval([1.0] * ones + [0.0] * (n - ones), 0.95)
        assert (low, high) == pytest.approx((exact.low, exact.high), abs=0.006)


def test_mean_interval_holds_the_mean_and_shrinks():
    values = [0.9, 0.92, 0.88, 0.95, 0.91]
    few, many = mean_interval(values, 0.95), mean_interval(values * 20, 0.95)
    assert few[0] < many[0] < np.mean(values) < many[1] < few[1] < 1
    assert mean_interval(values, 0.95) == few
    assert mean_interval(values, 0.8)[0] > few[0]


def test_mean_of_one_group_is_that_group_and_more_groups_are_closer():
    values = [0.9, 0.92, 0.88, 0.95, 0.91, 0.4]
    one, four = (mean_of_means_interval([values] * n, 0.95) for n in (1, 4))
    assert one == pytest.approx(mean_interval(values, 0.95), abs=0.01)
    assert one[0] < four[0] < np.mean(values) < four[1] < one[1]
