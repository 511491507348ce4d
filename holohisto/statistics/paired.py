"""Paired comparisons: exact tests, their limits and typical differences."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

EXACT_LIMIT = 50
"""Pairs up to which the null distribution is enumerated; above, the normal approximation."""
DECIMALS = 9
"""Differences are rounded so that round-off neither breaks ties nor makes zeros non-zero."""


@dataclass(frozen=True)
class SignedRank:
    """Outcome of a Wilcoxon signed-rank test."""

    n: int
    """Pairs, ties between the two models included."""
    n_zero: int
    """Pairs without a difference, which are dropped."""
    statistic: float
    """W, the smaller of the two rank sums."""
    p: float
    """Two-sided."""
    p_pratt: float
    """Two-sided, with Pratt's treatment of zeros: they are ranked, then dropped."""
    effect: float
    """Rank-biserial correlation: (favourable - unfavourable) / total rank sum, -1 to 1."""
    method: str
    """`exact` or `asymptotic`."""


def signed_rank(differences: Sequence[float] | np.ndarray) -> SignedRank:
    """Two-sided Wilcoxon signed-rank test; zeros are dropped, ties share their mean rank.

    Up to 50 unequal pairs the null distribution is exact, also with ties (where
    `scipy.stats.wilcoxon` approximates from 14 pairs on); above 50 the p values are those of
    `scipy.stats.wilcoxon` with `method="asymptotic"`. The effect size is the matched-pairs
    rank-biserial correlation (Kerby, "The simple difference formula", Comprehensive Psychology
    2014).

    Args:
        differences: (n,) paired differences; values that round to 0 at nine decimals are ties.
    """
    rounded = np.round(np.asarray(differences, dtype=np.float64), DECIMALS)
    nonzero = rounded[rounded != 0]
    n, n_zero = len(rounded), len(rounded) - len(nonzero)
    if len(nonzero) == 0:
        return SignedRank(n, n_zero, 0.0, 1.0, 1.0, 0.0, "exact")
    exact = len(nonzero) <= EXACT_LIMIT
    ranks = stats.rankdata(np.abs(nonzero))
    above, below = (float(ranks[side].sum()) for side in (nonzero > 0, nonzero < 0))
    if exact:
        pratt = stats.rankdata(np.abs(rounded))[rounded != 0]
        p = [_exact_p(ranks, nonzero > 0), _exact_p(pratt, nonzero > 0)]
    else:
        tests = (
            stats.wilcoxon(rounded, zero_method=zeros, method="asymptotic")
            for zeros in ("wilcox", "pratt")
        )
        p = [float(np.asarray(test)[1]) for test in tests]
    return SignedRank(
        n,
        n_zero,
        min(above, below),
        p[0],
        p[1],
        (above - below) / (above + below),
        "exact" if exact else "asymptotic",
    )


def _exact_p(ranks: np.ndarray, positive: np.ndarray) -> float:
    """Share of the 2^n sign patterns with a rank sum as extreme, by dynamic programming."""
    statistic = min(ranks[positive].sum(), ranks[~positive].sum())
    ways = sums_of_signed(np.rint(2 * ranks).astype(np.int64))  # mean ranks are halves
    return min(1.0, 2 * float(ways[: round(2 * statistic) + 1].sum() / ways.sum()))


def sums_of_signed(sizes: np.ndarray) -> np.ndarray:
    """Number of the 2^n sign patterns by the sum of the positive sizes, (total + 1,) float64.

    Args:
        sizes: (n,) int64, 0 or more.
    """
    ways = np.zeros(sizes.sum() + 1)
    ways[0] = 1
    for size in sizes:
        ways[size:] += ways[: len(ways) - size].copy()
    return ways


def smallest_p(nonzero: int) -> float:
    """Smallest two-sided p that `nonzero` unequal pairs can give, reached if all of them agree."""
    return min(1.0, 2.0 / 2.0**nonzero)


def pairs_needed(alpha: float, comparisons: int) -> int:
    """Smallest number of unequal pairs whose p, times the comparisons, can be below `alpha`."""
    return next(n for n in itertools.count(1) if comparisons * smallest_p(n) < alpha)


def holm(p: Sequence[float] | np.ndarray) -> np.ndarray:
    """Holm-adjusted p values, (n,) float64, in the order given.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
    Statistics 1979; equal to R's `p.adjust(p, "holm")`.
    """
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    factors = len(values) - np.arange(len(values))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(values[order] * factors))
    return adjusted


def hodges_lehmann(differences: Sequence[float] | np.ndarray) -> float:
    """Hodges-Lehmann estimate of the shift: the median of the means of all pairs of differences.

    Each difference is also paired with itself (Hodges and Lehmann, "Estimates of location based on
    rank tests", Annals of Mathematical Statistics 1963).
    """
    values = np.asarray(differences, dtype=np.float64)
    first, second = np.triu_indices(len(values))
    return float(np.median((values[first] + values[second]) / 2))
