"""Confidence intervals that keep their level with few subjects: of a shift, and of a mean Dice."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy import stats

from holohisto.statistics.paired import DECIMALS, EXACT_LIMIT, sums_of_signed

DRAWS = 50_000
"""Draws of the weights of `mean_interval`; the ends are then exact to about 0.003."""
CELLS = 4_000_000
"""Numbers held at once while drawing."""


def shift_interval(
    differences: Sequence[float] | np.ndarray, clusters: Sequence[str], confidence: float
) -> tuple[float, float]:
    """Interval of the Hodges-Lehmann shift: all shifts that the signed-rank test does not reject.

    Slides of one subject resemble each other, so the test changes the signs of all differences of a
    subject together. Where each subject has one difference this is Tukey's interval between two
    order statistics of the Walsh averages (Hollander, Wolfe and Chicken, "Nonparametric Statistical
    Methods", 3rd edition, section 3.3), R's `wilcox.test(conf.int = TRUE)`. Equal differences share
    their mean rank, differences equal to the shift are left out, as in `signed_rank`; a difference
    of 0 counts like any other. Up to 50 subjects the null distribution is exact.

    Args:
        differences: (n,) paired differences.
        clusters: (n,) cluster (subject) of each difference.
        confidence: coverage of the interval, 0 to 1.

    Returns:
        Lower and upper end, which belong to the interval; NaN where the clusters are too few for
        any finite interval to have this coverage (fewer than 6 for 0.95, than 8 for 0.99).
    """
    # Whole numbers, so that equal Walsh averages are equal.
    values = np.rint(np.asarray(differences, np.float64) * 10**DECIMALS).astype(np.int64)
    member = pd.factorize(np.asarray(clusters, dtype=object))[0]
    first, second = np.triu_indices(len(values))
    sums = np.unique(values[first] + values[second])
    tail = (1 - confidence) / 2
    low = _first_not_rejected(values, member, sums, tail)
    high = _first_not_rejected(-values, member, -sums[::-1], tail)
    if low is None or high is None:
        return float("nan"), float("nan")
    return low / (2 * 10**DECIMALS), -high / (2 * 10**DECIMALS)


def _first_not_rejected(
    values: np.ndarray, member: np.ndarray, sums: np.ndarray, tail: float
) -> int | None:
    """Smallest of the sorted Walsh sums just above which the test no longer rejects the shift.

    Between neighbouring Walsh averages no rank and no sign changes, so one shift stands for all.
    None if even a shift below all of them is not rejected.
    """

    def rejected(cell: int) -> bool:
        """Whether the differences are too high for a shift from sums[cell - 1] to sums[cell]."""
        if cell == 0:
            residuals = 4 * values - (2 * sums[0] - 2)
        elif cell == len(sums):
            residuals = 4 * values - (2 * sums[-1] + 2)
        else:
            residuals = 4 * values - (sums[cell - 1] + sums[cell])
        return _p_above(residuals, member) <= tail

    if len(sums) == 0 or not rejected(0):
        return None
    low, high = 0, len(sums)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if rejected(middle) else (low, middle)
    return int(sums[low])


def _p_above(residuals: np.ndarray, member: np.ndarray) -> float:
    """One-sided p of the signed-rank test with signs shared by clusters: residuals above 0?"""
    _, index, counts = np.unique(np.abs(residuals), return_inverse=True, return_counts=True)
    ranks = (2 * np.cumsum(counts) - counts + 1)[index]  # doubled, as mean ranks are halves
    doubled = np.rint(np.bincount(member, np.sign(residuals) * ranks)).astype(np.int64)
    sizes, above = np.sort(np.abs(doubled)), int(doubled[doubled > 0].sum())
    if len(sizes) <= EXACT_LIMIT:
        return float(_share_from(tuple(sizes.tolist()))[above])
    centre, deviation = sizes.sum() / 2, np.sqrt((sizes.astype(float) ** 2).sum()) / 2
    return float(stats.norm.sf((above - centre) / deviation)) if deviation else 1.0


@lru_cache(maxsize=256)
def _share_from(sizes: tuple[int, ...]) -> np.ndarray:
    """Share of the sign patterns whose positive sizes sum to an index or more."""
    ways = sums_of_signed(np.array(sizes, np.int64))
    return np.cumsum(ways[::-1])[::-1] / ways.sum()


def mean_interval(
    values: Sequence[float] | np.ndarray, confidence: float, seed: int = 0
) -> tuple[float, float]:
    """Interval of the mean of a score between 0 and 1, whatever its distribution (Gaffke).

    Student's interval is too short where most scores are high and a few very low, as Dice is: the
    few are often not among five slides. Here each end is a quantile of the mean of the scores and
    one more, the worst (0) or the best (1), under weights uniform over all that sum to 1. Of scores
    0 and 1 alone this is the interval of Clopper and Pearson. That it keeps its level for every
    distribution is not proven, but no exception is known (Gaffke, "Three test statistics for a
    nonparametric one-sided hypothesis on the mean of a nonnegative variable", Mathematical Methods
    of Statistics 2005; Learned-Miller and Thomas, arXiv 1905.06208).

    Args:
        values: (n,) independent scores, 0 to 1, at least one.
        confidence: coverage of the interval, 0 to 1.
        seed: of the weights.

    Returns:
        Lower and upper end.
    """
    low, high = mean_draws(values, seed)
    tail = (1 - confidence) / 2
    return float(np.quantile(low, tail)), float(np.quantile(high, 1 - tail))


def mean_of_means_interval(
    groups: Sequence[Sequence[float] | np.ndarray], confidence: float, seed: int = 0
) -> tuple[float, float]:
    """Interval of the unweighted mean of the groups' means, melded from theirs.

    Source: Fay, Proschan and Brittain, "Combining one-sample confidence procedures for inference in
    the two-sample case", Biometrics 2015. Arguments as of `mean_interval`, one array per group.
    """
    draws = [mean_draws(values, seed + 1 + index) for index, values in enumerate(groups)]
    low, high = (np.mean([draw[end] for draw in draws], axis=0) for end in (0, 1))
    tail = (1 - confidence) / 2
    return float(np.quantile(low, tail)), float(np.quantile(high, 1 - tail))


def mean_draws(values: Sequence[float] | np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Randomly weighted means of the scores and a 0, and of the scores and a 1: (DRAWS,) each."""
    scores = np.asarray(values, np.float64)
    random = np.random.default_rng([seed, len(scores)])
    low, high = np.empty(DRAWS), np.empty(DRAWS)
    block = max(1, CELLS // (len(scores) + 1))
    for start in range(0, DRAWS, block):
        part = slice(start, min(start + block, DRAWS))
        weights = random.standard_exponential((part.stop - start, len(scores) + 1))
        weights /= weights.sum(axis=1, keepdims=True)
        low[part] = weights[:, :-1] @ scores
        high[part] = low[part] + weights[:, -1]
    return low, high
