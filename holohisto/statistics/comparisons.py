"""Paired comparisons of the reference with every other model: comparisons.tsv."""

from typing import Any

import numpy as np
import pandas as pd

from holohisto.statistics.groups import ALL, by_group, scored, shows_class
from holohisto.statistics.intervals import shift_interval
from holohisto.statistics.paired import (
    DECIMALS,
    hodges_lehmann,
    holm,
    pairs_needed,
    signed_rank,
    smallest_p,
)

COMPARISONS = (
    "class",
    "level",
    "scope",
    "reference",
    "model",
    "reference_pretrained",
    "pretrained",
    "n",
    "n_zero",
    "median_difference",
    "shift",
    "shift_low",
    "shift_high",
    "confidence",
    "effect",
    "W",
    "p",
    "p_pratt",
    "method",
    "p_holm",
    "p_least",
    "p_least_holm",
    "n_needed",
    "result",
    "note",
)


def comparison_table(
    slides: pd.DataFrame, reference: str, alpha: float, confidence: float = 0.95
) -> pd.DataFrame:
    """Slide Dice of the reference against every other model, paired on slides and on subjects.

    Positive differences mean that the reference scores higher. `p` is Holm-corrected to `p_holm`
    over the compared models, within class, level (slides or subjects) and scope (a group or all).
    `p_least` and `p_least_holm` are the smallest values that `p` and `p_holm` could take, reached
    if all pairs of every comparison agreed. `n_needed` is the smallest number of unequal pairs
    with which a comparison could be significant. Classes and groups without any slide that shows
    the class are left out: models that find nothing there are all alike.

    Args:
        slides: the columns SLIDES, one row per model, slide and class.
        reference: model that the others are compared with.
        alpha: significance level, 0 to 1.
        confidence: coverage of the interval of the shift, 0 to 1.

    Returns:
        The columns COMPARISONS, one row per class, level, scope and compared model.
    """
    rows = []
    order = list(slides["group"].unique())
    for name, own in scored(slides).groupby("class", sort=False):
        scopes = [(ALL, own), *(by_group(own, order) if own["group"].nunique() > 1 else ())]
        shown = [(scope, members) for scope, members in scopes if shows_class(members).any()]
        for level in ("slides", "subjects"):
            for scope, members in shown:
                family = _family(members, reference, level, alpha, confidence)
                rows += [{"class": name, "level": level, "scope": scope} | row for row in family]
    return pd.DataFrame(rows, columns=list(COMPARISONS))


def _family(
    slides: pd.DataFrame, reference: str, level: str, alpha: float, confidence: float
) -> list[dict[str, Any]]:
    """All comparisons that share one Holm correction."""
    keys = ["subject", "slide"] if level == "slides" else ["subject"]
    dice = slides.set_index(["subject", "slide", "model"])["dice_foreground"].astype(float)
    dice = dice.unstack()
    pretrained = dict(zip(slides["model"], slides["pretrained"], strict=True))
    rows = []
    for model in (name for name in slides["model"].unique() if name != reference):
        if reference not in dice:
            break
        pairs = (dice[reference] - dice[model]).dropna().groupby(level=keys, sort=False).mean()
        if pairs.empty:
            continue
        rows.append(
            {
                "reference": reference,
                "model": model,
                "reference_pretrained": pretrained[reference],
                "pretrained": pretrained[model],
                **_tested(pairs, confidence),
            }
        )
    adjusted, least = (holm([row[key] for row in rows]).tolist() for key in ("p", "p_least"))
    for row, p, lowest in zip(rows, adjusted, least, strict=True):
        row |= {"p_holm": p, "p_least_holm": lowest, "n_needed": pairs_needed(alpha, len(rows))}
        row["result"], row["note"] = _verdict(row, len(rows), alpha)
    return rows


def _tested(pairs: pd.Series, confidence: float) -> dict[str, Any]:
    """Test, shift and interval of paired differences, indexed by subject among others."""
    values = np.round(pairs.to_numpy(), DECIMALS)
    test = signed_rank(values)
    subjects = [str(key) for key in pairs.index.get_level_values("subject")]
    low, high = shift_interval(values, subjects, confidence)
    return {
        "n": test.n,
        "n_zero": test.n_zero,
        "median_difference": float(np.median(values)),
        "shift": hodges_lehmann(values),
        "shift_low": low,
        "shift_high": high,
        "confidence": confidence,
        "effect": test.effect,
        "W": test.statistic,
        "p": test.p,
        "p_pratt": test.p_pratt,
        "method": test.method,
        "p_least": smallest_p(test.n - test.n_zero),
    }


def _verdict(row: dict[str, Any], family: int, alpha: float) -> tuple[str, str]:
    """The result of a comparison, and a note where too few pairs limit it."""
    if row["p_least"] >= alpha:
        return (
            "n too small",
            f"n too small{_ties(row)}: smallest possible p is {row['p_least']:.3g}",
        )
    if row["p_holm"] < alpha:
        return ("higher" if row["effect"] > 0 else "lower"), ""
    if row["p_least_holm"] >= alpha:
        return (
            "no difference shown",
            f"n too small for {family} comparisons{_ties(row)}: smallest possible p after Holm is"
            f" {row['p_least_holm']:.3g}",
        )
    return "no difference shown", ""


def _ties(row: dict[str, Any]) -> str:
    """Number of equal pairs, which no test can use; empty without any."""
    return f", {row['n_zero']} of {row['n']} pairs are equal" if row["n_zero"] else ""
