"""Paired comparisons: exact tests, their limits, typical differences and intervals."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

EXACT_LIMIT = 50
"""Pairs up to which the null distribution is enumerated; above, the normal approximation."""
DECIMALS = 9
"""Differences are rounded so that round-off neither breaks ties nor makes zeros non-zero."""
FEWEST_CLUSTERS = 5
"""Clusters below which no bootstrap interval is given."""
BOOTSTRAP_CELLS = 4_000_000
"""Numbers held at once while resampling."""


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
    doubled = np.rint(2 * ranks).astype(np.int64)  # mean ranks are halves
    ways = np.zeros(doubled.sum() + 1)
    ways[0] = 1
    for rank in doubled:
        ways[rank:] += ways[:-rank].copy()
    return min(1.0, 2 * float(ways[: round(2 * statistic) + 1].sum() / ways.sum()))


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


def shift_interval(
    differences: Sequence[float] | np.ndarray,
    clusters: Sequence[str],
    confidence: float,
    resamples: int,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of the Hodges-Lehmann shift, resampling whole clusters.

    Slides of one subject resemble each other, so subjects are resampled instead of slides. A
    resample only changes how often each pair of slides counts, so the pairs are sorted once.

    Args:
        differences: (n,) paired differences.
        clusters: (n,) cluster (subject) of each difference.
        confidence: coverage of the interval, 0 to 1.
        resamples: number of bootstrap resamples.
        seed: of the resampling.

    Returns:
        Lower and upper end; NaN for fewer than five clusters, whose resamples repeat so often that
        the interval would be far too narrow.
    """
    values = np.asarray(differences, dtype=np.float64)
    member = pd.factorize(np.asarray(clusters, dtype=object))[0]
    count = int(member.max()) + 1 if len(member) else 0
    if count < FEWEST_CLUSTERS:
        return float("nan"), float("nan")
    first, second = np.triu_indices(len(values))
    means = (values[first] + values[second]) / 2
    order = np.argsort(means)
    means, first, second = means[order], first[order], second[order]
    random = np.random.default_rng(seed)
    block = max(1, BOOTSTRAP_CELLS // len(means))
    shifts = []
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        times = random.multinomial(count, np.full(count, 1 / count), size=size)[:, member]
        shifts.append(_counted_median(means, _pair_counts(times, first, second)))
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(shifts), [tail, 1 - tail])
    return float(low), float(high)


def _pair_counts(times: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """How often each pair occurs when slide i is drawn `times[:, i]` times: (resamples, pairs)."""
    counts = times[:, first] * times[:, second]
    same = first == second
    own = times[:, first[same]]
    counts[:, same] = own * (own + 1) // 2
    return counts


def _counted_median(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Median per row of sorted `values`, each occurring `counts[row]` times."""
    below = np.cumsum(counts, axis=1)
    total = below[:, -1:]
    low = (below <= (total - 1) // 2).sum(axis=1)
    high = (below <= total // 2).sum(axis=1)
    return (values[low] + values[high]) / 2
