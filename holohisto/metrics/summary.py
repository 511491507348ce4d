"""The scores of a slide as sentences for the log."""

from collections.abc import Iterator
from typing import Any


def summary_lines(classes: dict[str, dict[str, Any]]) -> Iterator[str]:
    """One sentence per class, from the entries of `metrics.score.score`."""
    for name, scores in classes.items():
        if not scores["annotated"]:
            yield f"{name}: not annotated on this slide"
            continue
        objects, boundary = scores["objects"], scores["boundary"]
        yield (
            f"{name}: Dice {scores['foreground']['dice']:.4f} in the foreground,"
            f" {scores['everywhere']['dice']:.4f} everywhere;"
            f" boundary F1 {boundary['f1']:.4f} within {boundary['tolerance_um']:g} um;"
            f" objects: {objects['tp']} matched, {objects['fp']} extra, {objects['fn']} missed;"
            f" {scores['outside_foreground']} annotated pixels outside the foreground"
        )
