"""`holohisto token_value`: what the tokens add to a model, on annotated slides."""

import argparse
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from holohisto.config.parsing import from_json
from holohisto.config.sections import Classes
from holohisto.config.training import TokensOptions, TrainOptions
from holohisto.infer import checks
from holohisto.infer.engine import EngineOptions, open_predictor
from holohisto.infer.predictor import Predictor, TileInputs
from holohisto.runtime import gpus
from holohisto.runtime.open_files import OpenFiles
from holohisto.runtime.progress import track
from holohisto.runtime.results import Results
from holohisto.segmenter.card import ModelCard, load_weights
from holohisto.sheet.rows import read_sheet
from holohisto.slide.record import SlideRecord
from holohisto.statistics.files import write_table
from holohisto.training.job import TrainingJob
from holohisto.training.opening import open_slide
from holohisto.training.scoring import Count, Reads, counts_of
from holohisto.training.slides import Batch
from holohisto.training.token_value import token_values

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--segmenter", type=Path, required=True, help="segmenter of `train`")
    parser.add_argument("--sheet", type=Path, required=True, help="sample sheet (TSV)")
    parser.add_argument(
        "--split", default="test", help="split whose annotated slides are segmented (%(default)s)"
    )
    parser.add_argument(
        "--results",
        type=Results,
        default="results",
        help="folder of the run's results, with records, foreground maps and token maps",
    )
    parser.add_argument(
        "--classes",
        type=from_json(Classes),
        required=True,
        help="section `classes` of the configuration (JSON)",
    )
    cores = len(os.sched_getaffinity(0))
    threads = "CPU threads; affects the time only"
    parser.add_argument("--threads", type=int, default=cores, metavar="N", help=threads)
    parser.add_argument("--table", type=Path, required=True, help="table to write (TSV)")


def run(arguments: argparse.Namespace) -> None:
    gpus.take()
    _, card, digest = load_weights(arguments.segmenter)
    checks.require_classes(card, arguments.classes, arguments.segmenter)
    rows: list[dict[str, Any]] = []
    if card.tokenizer is not None and card.mode != "online":
        options = EngineOptions(card.tile, threads=max(1, arguments.threads))
        folder = arguments.table.parent
        predictor = open_predictor(arguments.segmenter, card, digest, None, options, folder)
        with predictor.working():
            rows = list(_rows(arguments, predictor, card))
    else:
        logger.warning("%s reads no token map: the table is empty", arguments.segmenter)
    columns = ["slide", "condition", "tiles", *(f"dice {name}" for name in card.classes)]
    write_table(pd.DataFrame(rows, columns=[*columns, "dice mean"]), arguments.table)


def _count(predictor: Predictor) -> Count:
    """Return what segments a tile and counts."""

    def count(batch: Batch) -> np.ndarray:
        tokens = None if batch.tokens is None else batch.tokens[0]
        rgb = None if batch.rgb is None else np.asarray(batch.rgb)[0].transpose(1, 2, 0)
        inputs = predictor.prepared(predictor.stacked([TileInputs(tokens, rgb)]))
        height, width = batch.target.shape[2:]
        probabilities = predictor(inputs, (height, width))[0]
        return counts_of(predictor.arrays.numpy(probabilities > 0.5)[None], batch)

    return count


def _rows(
    arguments: argparse.Namespace, predictor: Predictor, card: ModelCard
) -> Iterator[dict[str, Any]]:
    """Yield the rows of the table, slide by slide in the sheet's order."""
    job = TrainingJob(
        name=card.name,
        model=card.options,
        options=TrainOptions(),
        tokens=TokensOptions(),
        classes=arguments.classes,
        seed=0,
        sheet=arguments.sheet,
        results=arguments.results,
    )
    split = arguments.split
    count, reads = _count(predictor), Reads(predictor.reads_tokens, predictor.reads_pixels)
    parallel = predictor.parallel if predictor.parallel > 1 else 0
    sheet = read_sheet(arguments.sheet, card.classes).values()
    rows = [row for row in sheet if row.split == split and row.annotation and not row.exclude]
    for row in track(rows, len(rows), split, "slide"):
        record = SlideRecord.read(job.results.record(row.slide))
        checks.require_resolution(card, record, arguments.segmenter)
        slide = open_slide(job, row, None, OpenFiles(0))
        tokens = job.results.tokens(row.slide)
        slide.token_map = checks.token_map_for(card, arguments.segmenter, tokens, record)
        for value in token_values(count, reads, slide, card.tile, parallel=parallel):
            dice = dict(zip(card.classes, value.dice, strict=True))
            known = value.dice[~np.isnan(value.dice)]
            mean = float(known.mean()) if len(known) else float("nan")
            logger.info("%s, tokens %s: Dice %.4f", row.slide, value.condition, mean)
            yield {
                "slide": row.slide,
                "condition": value.condition,
                "tiles": value.tiles,
                **{f"dice {name}": score for name, score in dice.items()},
                "dice mean": mean,
            }
