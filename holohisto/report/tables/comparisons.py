"""Comparisons with the reference, as text for the template."""

import math

from holohisto.report.words import probability
from holohisto.statistics.groups import ALL
from holohisto.statistics.paired import smallest_p


def comparison(row: dict, pretrained: str = "") -> dict[str, str]:
    """A row of comparisons.tsv as text for the template.

    Args:
        row: cells by column.
        pretrained: how the compared model's training started; empty if not known.
    """
    model = row["model"]
    where = "all groups" if row["scope"] == ALL else f"group {row['scope']}"
    shift, low, high = (100 * row[key] for key in ("shift", "shift_low", "shift_high"))
    interval = f"{low:+.2f} to {high:+.2f}".replace("-", "−")
    if math.isnan(low):
        interval = "n too small"
    effect = float(row.get("effect", math.nan))
    return {
        "model": model,
        "pretrained": pretrained,
        "where": where,
        "unit": row["level"],
        "overall": "yes" if row["scope"] == ALL else "",
        "pairs": f"{row['n']:.0f}",
        "shift": f"{shift:+.2f}".replace("-", "−"),
        "interval": interval,
        "effect": "" if math.isnan(effect) else f"effect {effect:+.2f}".replace("-", "−"),
        "p": probability(row["p_holm"]),
        "method": row["method"],
        "words": _result(row),
        "result": row["result"].replace(" ", "-"),
    }


def _result(row: dict) -> str:
    """The result of a comparison as a phrase."""
    reference, model = row["reference"], row["model"]
    if row["result"] == "n too small":
        unequal = int(row["n"] - row["n_zero"])
        pairs = f"the {unequal} unequal ones" if row["n_zero"] else f"all {row['level']}"
        least = f"{smallest_p(unequal):.3g}"
        return f"too few {row['level']}: even if {pairs} agreed, p could not be below {least}"
    phrase = {
        "higher": f"{reference} scores higher than {model}",
        "lower": f"{reference} scores lower than {model}",
    }.get(row["result"], "no difference shown")
    note = row.get("note")
    return f"{phrase} ({note})" if isinstance(note, str) and note else phrase
