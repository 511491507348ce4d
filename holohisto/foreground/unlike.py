"""Slides whose tissue is coloured unlike that of every training slide."""

from collections.abc import Collection, Mapping

import numpy as np

from holohisto.tiles.colour import Colour

HUE_SPREAD = 0.04
"""Usual distance of two slides of one stain, as a share of the total optical density."""
DENSITY_SPREAD = 0.25
"""Usual difference of two slides of one stain in the logarithm of the total optical density."""
LIMIT = 2.0
"""Smallest distance, in these spreads, of a slide that is unlike training, however alike the
training slides are. Measured with `distance` on samples of up to four tiles of 256 px in four
stains, and on 24 PAS tiles of 1024 px of one section, each to its nearest: PAS to PAS 1.4 (largest
2.0) and 0.5 (0.9), silver to silver 1.0, trichrome to trichrome 1.3, H&E to H&E 2.1; H&E to PAS 2.5
(3 of 5 samples beyond the limit), silver to PAS 3.2 and trichrome to PAS 4.7 (all beyond); PAS to
another laboratory's PAS 1.7 to 2.3. H&E, with the density of PAS, is the hardest to tell."""


def distance(first: Colour, second: Colour) -> float:
    """Return the distance of two colours in usual spreads of a stain.

    The hue is the Frechet distance (Dowson and Landau 1982) of the two normal distributions of
    optical density, each divided by its own total, so that H&E differs from PAS by its two dyes
    where the mean alone is alike. The total itself is compared by its logarithm.
    """
    totals = [max(sum(colour.mean), 1e-6) for colour in (first, second)]
    means, covariances = [], []
    for colour, total in zip((first, second), totals, strict=True):
        means.append(np.array(colour.mean) / total)
        covariances.append(np.array(colour.covariance) / total**2)
    common = np.linalg.eigvals(covariances[0] @ covariances[1]).real
    squared = np.square(means[0] - means[1]).sum()
    squared += np.trace(covariances[0] + covariances[1]) - 2 * np.sqrt(np.maximum(common, 0)).sum()
    hue = np.sqrt(max(0.0, squared)) / HUE_SPREAD
    return float(np.hypot(hue, np.log(totals[0] / totals[1]) / DENSITY_SPREAD))


def unlike(colours: Mapping[str, Colour], training: Collection[str]) -> dict[str, str]:
    """Return the slides whose colours lie outside what training saw, with a sentence on each.

    A slide is unlike training if the nearest training slide is farther away than LIMIT, and
    farther than every training slide is from its own nearest one.

    Args:
        colours: Colour of the tissue of each slide, by its id.
        training: Ids of the training slides; those without a colour are ignored.

    Returns:
        Slide to sentence, in the order of `colours`; nothing without training slides.
    """
    seen = {name: colours[name] for name in training if name in colours}
    if not seen:
        return {}
    limit = LIMIT
    for name, colour in seen.items():
        others = [distance(colour, other) for key, other in seen.items() if key != name]
        limit = max(limit, min(others, default=0.0))
    found = {}
    for name, colour in colours.items():
        away = min(distance(colour, other) for other in seen.values())
        if name not in seen and away > limit:
            found[name] = (
                f"colours unlike every training slide: distance {away:.1f} from the nearest, where"
                f" {limit:.1f} is usual; results on it are less certain"
            )
    return found
