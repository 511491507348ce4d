"""Score tables of a cohort, made up for tests."""

import pandas as pd

from holohisto.statistics.rows import SLIDES


def slides(scores: dict[str, dict[str, float]], groups: dict[str, str], tiles=None, subjects=None):
    """slides.tsv from model → slide → Dice."""
    rows = [
        {
            "model": model,
            "slide": slide,
            "class": "glomerulus",
            "group": groups[slide],
            "subject": (subjects or {}).get(slide, slide),
            "split": "test",
            "annotated": "yes",
            "dice_foreground": dice,
            "tile_dice": dice / 2,
            "object_f1": dice / 4,
            "tiles": (tiles or {}).get(slide, 1),
            "tiles_empty": 0,
            "tp": 9,
            "fp": 0,
            "fn": 1,
        }
        for model, values in scores.items()
        for slide, dice in values.items()
    ]
    return pd.DataFrame(rows, columns=list(SLIDES))
