"""Table 3: variants of the method's segmenter that differ in a component."""

import math
from typing import Any

import pandas as pd

from holohisto.config.training import TrainOptions
from holohisto.report.results import Run, rows_of
from holohisto.report.tables.printed import NOTHING, Cell, Head, PrintedTable, TableLine
from holohisto.report.tables.table1 import pretrained_of
from holohisto.report.tables.trained import Trained, size
from holohisto.report.words import large, percent
from holohisto.statistics.groups import ALL

COMPONENTS = ("embedding", "attention", "sampler", "tile", "decoder")
TITLES = {
    "embedding": "Input",
    "attention": "Attention",
    "sampler": "Training tiles",
    "tile": "Tile",
}
WORDS = {
    "embedding": {"tokens": "tokens", "linear": "pixels, linear"},
    "attention": {"relu": "ReLU linear, 3 scales", "softmax": "softmax, 1 scale"},
    "sampler": {"random": "anywhere", "grid": "on a grid"},
}
SEEN = ("steps", "tiles", "pixels", "variants")
MEASURES = {"tile_dice": "dice_over_tiles", "slide_dice": "dice_mean"}


def components(run: Run, options: dict[str, Any]) -> dict[str, Any]:
    """Components of a model of kind `holohisto`: its own options, else those of `train`."""
    defaults = TrainOptions()
    shared = run.parameters.get("train") or {}
    return {
        "embedding": options.get("embedding") or "tokens",
        "attention": options.get("attention") or "relu",
        "sampler": options.get("sampler") or shared.get("sampler") or defaults.sampler,
        "tile": tuple(options.get("tile") or shared.get("tile") or defaults.tile),
        "decoder": options.get("decoder") or "rgb",
    }


def variants(run: Run) -> list[str]:
    """Models of kind `holohisto` and one size that differ in a component; empty if none differ.

    Among several sizes, that of the reference model is taken, or else that of the first model.
    """
    ours = {
        name: options
        for name, options in run.models.items()
        if options.get("kind", "holohisto") == "holohisto"
    }
    if not ours:
        return []
    first = ours.get(run.reference) or next(iter(ours.values()))
    wanted = first.get("size", "S")
    alike = [name for name, options in ours.items() if options.get("size", "S") == wanted]
    distinct = {tuple(components(run, ours[name]).values()) for name in alike}
    return alike if len(distinct) > 1 else []


def numbers(run: Run, known: dict[str, Trained]) -> pd.DataFrame:
    """The table as shares and counts, one row per class and variant: table3.tsv."""
    groups = rows_of(run.table("groups"), group=ALL)
    rows = []
    for name in run.classes:
        for model in variants(run):
            own = rows_of(groups, model=model, **{"class": name})
            seen = known.get(model)
            built = components(run, run.models[model])
            rows.append(
                {"class": name, "model": model, "pretrained": pretrained_of(own), **built}
                | {"tile": size(built["tile"])}
                | {key: getattr(seen, key, math.nan) for key in SEEN}
                | {
                    key: float(own[column].iloc[0]) if len(own) and column in own else math.nan
                    for key, column in MEASURES.items()
                }
            )
    columns = ["class", "model", "pretrained", *COMPONENTS, *SEEN, *MEASURES]
    return pd.DataFrame(rows, columns=columns)


def table3(run: Run, table: pd.DataFrame, name: str) -> PrintedTable | None:
    """The table of one class as text; None without variants."""
    rows = rows_of(table, **{"class": name})
    if rows.empty or rows[list(MEASURES)].isna().all(axis=None):
        return None
    reference = run.reference if run.reference in set(rows["model"]) else rows["model"].iloc[0]
    base = rows[rows["model"] == reference].iloc[0]
    shown = [name for name in COMPONENTS if name in TITLES or rows[name].nunique() > 1]
    best = {key: rows[key].max() for key in MEASURES}
    lines = []
    for row in rows.to_dict("records"):
        cells = [
            Cell(WORDS.get(name, {}).get(row[name]) or str(row[name]), kind="changed" * differs)
            for name in shown
            for differs in [row[name] != base[name]]
        ]
        cells += [Cell(large(row["steps"])), Cell(large(row["pixels"]))]
        cells += [
            NOTHING if math.isnan(row[key]) else Cell(percent(row[key]), best=row[key] >= best[key])
            for key in MEASURES
        ]
        lines.append(
            TableLine(row["model"], row["pretrained"], row["model"] == run.reference, cells)
        )
    heads = [Head(TITLES.get(name, "Decoder"), words=True) for name in shown]
    heads += [Head("Steps", first=True), Head("Pixels seen")]
    heads += [Head("Tile Dice, %", first=True), Head("Slide Dice, %")]
    return PrintedTable("Model", heads, lines, notes=_fair(rows))


def _fair(rows: pd.DataFrame) -> list[str]:
    """A note on whether all variants saw as many pixels and could draw tiles in as many ways."""
    pixels, variants = rows["pixels"], rows["variants"]
    if pixels.isna().any() or variants.isna().any():
        return ["Some files lack what the training saw, so the models may not be comparable."]
    drawn = large(variants.min())
    if variants.max() > variants.min():
        drawn = f"between {drawn} and {large(variants.max())}"
    drawn = f"each tile could be drawn in {drawn} combinations of orientation, size and appearance"
    alike = pixels.max() <= 1.05 * pixels.min()
    if alike and variants.max() == variants.min():
        return [
            f"All models saw {large(pixels.min())} pixels, within 5 %, and {drawn}:"
            " the comparison is fair."
        ]
    seen = f"between {large(pixels.min())} and {large(pixels.max())}"
    seen = f"{large(pixels.min())}, within 5 %," if alike else seen
    return [
        f"The models saw {seen} pixels, and {drawn}, which may explain a part of their differences."
    ]
