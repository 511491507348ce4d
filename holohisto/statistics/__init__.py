"""Cohort statistics: means of groups, paired tests with their limits, intervals."""

from holohisto.statistics.distributions import (
    DISTRIBUTIONS,
    QUANTILES,
    distribution_table,
)
from holohisto.statistics.paired import (
    SignedRank,
    hodges_lehmann,
    holm,
    pairs_needed,
    shift_interval,
    signed_rank,
    smallest_p,
)
from holohisto.statistics.tables import (
    ALL,
    OBJECTS,
    POOLED,
    SLIDES,
    UNGROUPED,
    comparison_table,
    group_of,
    group_table,
    object_rows,
    score_rows,
)

__all__ = [
    "ALL",
    "DISTRIBUTIONS",
    "OBJECTS",
    "POOLED",
    "QUANTILES",
    "SLIDES",
    "UNGROUPED",
    "SignedRank",
    "comparison_table",
    "distribution_table",
    "group_of",
    "group_table",
    "hodges_lehmann",
    "holm",
    "object_rows",
    "pairs_needed",
    "score_rows",
    "shift_interval",
    "signed_rank",
    "smallest_p",
]
