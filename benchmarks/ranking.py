"""Whether the slides of which a model is unsure are those with a low Dice, on scored slides.

Usage: python benchmarks/ranking.py RESULTS [RESULTS ...]

Prints Spearman's rank correlation between each measure of uncertainty and 1 - Dice, for each model:
1 if the slide with the lowest Dice would be corrected first, and so on; 0 for an order by chance.
The Dice of a slide is the mean of `dice_foreground` over its classes.
"""

import math
import sys

import pandas as pd
from scipy.stats import spearmanr

from holohisto.errors import HolohistoError
from holohisto.runtime.results import Results
from holohisto.statistics.files import read_table
from holohisto.statistics.uncertainty import slide_uncertainty

MEASURES = ("uncertainty", "probability_uncertainty", "seam_disagreement")
FEWEST = 3
"""Slides below which there is no rank correlation."""


def measured(results: Results) -> pd.DataFrame:
    """Dice and uncertainty of every scored slide, one row for each model and slide."""
    scores = read_table(results.scores)
    scores = scores[scores["dice_foreground"].notna()]
    rows = []
    for (model, slide), own in scores.groupby(["model", "slide"], sort=False):
        try:
            found = slide_uncertainty(results, str(model), str(slide))
        except HolohistoError as error:
            print(f"{model}, {slide}: left out ({error})", file=sys.stderr)
            continue
        measures = {name: getattr(found, name) for name in MEASURES}
        rows.append(
            {"model": model, "slide": slide, "dice": own["dice_foreground"].mean(), **measures}
        )
    return pd.DataFrame(rows, columns=["model", "slide", "dice", *MEASURES])


def correlations(table: pd.DataFrame) -> pd.DataFrame:
    """Spearman's rho of each measure with 1 - Dice, one row for each model."""
    rows = []
    for model, own in table.groupby("model", sort=False):
        row: dict[str, object] = {"model": model, "slides": len(own)}
        row["dice"] = f"{own['dice'].min():.3f} to {own['dice'].max():.3f}"
        for name in MEASURES:
            known = own[own[name].notna()]
            varied = known[name].nunique() > 1 and known["dice"].nunique() > 1
            enough = len(known) >= FEWEST and varied
            row[name] = spearmanr(known[name], 1 - known["dice"]).statistic if enough else math.nan
        rows.append(row)
    return pd.DataFrame(rows)


def main() -> None:
    """Print the correlations of the runs that are named on the command line."""
    for folder in sys.argv[1:]:
        found = correlations(measured(Results(folder)))
        print(f"{folder}\n{found.to_string(index=False, float_format='%.2f')}\n")


if __name__ == "__main__":
    main()
