"""Table 3: variants of the method's segmenter that differ in one part or another."""

import math
from typing import Any

import pandas as pd

from holohisto.config.training import TrainOptions
from holohisto.report.results import Run, rows_of
from holohisto.report.tables.table1 import pretrained_of
from holohisto.report.tables.trained import Trained, size
from holohisto.report.tables.wide import NOTHING, Cell, Head, Line, Wide
from holohisto.report.words import large, percent
from holohisto.statistics.groups import ALL

PARTS = ("embedding", "attention", "sampler", "tile", "decoder")
TITLES = {"embedding": "Reads", "attention": "Attention", "sampler": "Tiles drawn", "tile": "Tile"}
WORDS = {
    "embedding": {"tokens": "tokens", "linear": "pixels, linear"},
    "attention": {"relu": "ReLU linear, 3 scales", "softmax": "softmax, 1 scale"},
    "sampler": {"random": "anywhere", "grid": "on a grid"},
}
MEASURES = {"tile_dice": "dice_over_tiles", "slide_dice": "dice_mean"}


def parts(run: Run, options: dict[str, Any]) -> dict[str, Any]:
    """What a model of kind `holohisto` is made of, its own options over those of `train`."""
    usual = TrainOptions()
    shared = run.parameters.get("train") or {}
    return {
        "embedding": options.get("embedding") or "tokens",
        "attention": options.get("attention") or "relu",
        "sampler": options.get("sampler") or shared.get("sampler") or usual.sampler,
        "tile": tuple(options.get("tile") or shared.get("tile") or usual.tile),
        "decoder": options.get("decoder") or "rgb",
    }


def variants(run: Run) -> list[str]:
    """Models of kind `holohisto` and one size that differ in some part; none if all are alike.

    Of several sizes it is the reference model's, or the first model's.
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
    found = {tuple(parts(run, ours[name]).values()) for name in alike}
    return alike if len(found) > 1 else []


def numbers(run: Run, known: dict[str, Trained]) -> pd.DataFrame:
    """The table as shares and counts, one row a class and variant: table3.tsv."""
    groups = rows_of(run.table("groups"), group=ALL)
    rows = []
    for name in run.classes:
        for model in variants(run):
            own = rows_of(groups, model=model, **{"class": name})
            seen = known.get(model)
            made = parts(run, run.models[model])
            rows.append(
                {"class": name, "model": model, "pretrained": pretrained_of(own), **made}
                | {"tile": size(made["tile"])}
                | {key: getattr(seen, key, math.nan) for key in ("steps", "tiles", "pixels")}
                | {
                    key: float(own[column].iloc[0]) if len(own) and column in own else math.nan
                    for key, column in MEASURES.items()
                }
            )
    columns = ["class", "model", "pretrained", *PARTS, "steps", "tiles", "pixels", *MEASURES]
    return pd.DataFrame(rows, columns=columns)


def table3(run: Run, table: pd.DataFrame, name: str) -> Wide | None:
    """The table of one class in print; None unless there are variants."""
    rows = rows_of(table, **{"class": name})
    if rows.empty or rows[list(MEASURES)].isna().all(axis=None):
        return None
    reference = run.reference if run.reference in set(rows["model"]) else rows["model"].iloc[0]
    base = rows[rows["model"] == reference].iloc[0]
    shown = [part for part in PARTS if part in TITLES or rows[part].nunique() > 1]
    best = {key: rows[key].max() for key in MEASURES}
    lines = []
    for row in rows.to_dict("records"):
        cells = [
            Cell(WORDS.get(part, {}).get(row[part]) or str(row[part]), kind="changed" * differs)
            for part in shown
            for differs in [row[part] != base[part]]
        ]
        cells += [Cell(large(row["steps"])), Cell(large(row["pixels"]))]
        cells += [
            NOTHING if math.isnan(row[key]) else Cell(percent(row[key]), best=row[key] >= best[key])
            for key in MEASURES
        ]
        lines.append(Line(row["model"], row["pretrained"], row["model"] == run.reference, cells))
    heads = [Head(TITLES.get(part, "Decoder"), words=True) for part in shown]
    heads += [Head("Steps", first=True), Head("Pixels seen")]
    heads += [Head("Tile Dice, %", first=True), Head("Slide Dice, %")]
    return Wide("Model", heads, lines, notes=_fair(rows))


def _fair(rows: pd.DataFrame) -> list[str]:
    """Whether all variants saw equally much."""
    pixels = rows["pixels"]
    if pixels.isna().any():
        return ["Not every model's file tells how much it saw, so they may not be comparable."]
    if pixels.max() <= 1.05 * pixels.min():
        return [
            f"All of them saw {large(pixels.min())} pixels, within 5 %: the comparison is fair."
        ]
    return [
        f"They saw between {large(pixels.min())} and {large(pixels.max())} pixels: part of a"
        " difference may come from that."
    ]
