"""`holohisto tokenizer`: train the VQGAN on the cohort's tissue, or adopt a checkpoint."""

import argparse
from pathlib import Path

from holohisto.config.parsing import from_json
from holohisto.config.sections import Classes
from holohisto.config.starter import located
from holohisto.config.training import TokenizerOptions
from holohisto.device import best_device
from holohisto.errors import HolohistoError
from holohisto.runtime import gpus
from holohisto.runtime.open_files import OpenFiles
from holohisto.runtime.results import Results
from holohisto.runtime.tsv import write_tsv
from holohisto.tokenizer.file import save_tokenizer
from holohisto.tokenizer.origin import from_checkpoint, from_tissue, write_picture
from holohisto.tokenizer.tissue_tiles import TissueTiles, training_tissue
from holohisto.tokenizer.training import TrainingRow

PICTURE_TILES, PICTURE_SIDE = 4, 384
STATISTICS_TILES = 8
"""Tiles of a slide whose statistics normalise the one that is shown."""
FILES = {
    "--tokenizer": "tokenizer to write, .safetensors",
    "--table": "training table to write, .tsv",
    "--picture": "picture of tissue and its reconstruction to write, .jpg",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sheet", type=Path, required=True, metavar="FILE", help="sample sheet, .tsv"
    )
    parser.add_argument(
        "--results",
        type=Results,
        default="results",
        metavar="DIR",
        help="folder of the run's results, with records and foreground maps",
    )
    parser.add_argument(
        "--options",
        type=from_json(TokenizerOptions),
        default=TokenizerOptions(),
        metavar="JSON",
        help="the configuration's section `tokenizer`",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of tiles and weights; default: 0")
    parser.add_argument(
        "--classes",
        type=from_json(Classes),
        default={},
        metavar="JSON",
        help="the configuration's section `classes`, whose annotations train the codes, too",
    )
    cache = "memory for open slides and decoded annotations"
    parser.add_argument("--cache-mb", type=int, default=1000, help=cache)
    for option, text in FILES.items():
        parser.add_argument(option, type=Path, required=True, metavar="FILE", help=text)


def run(arguments: argparse.Namespace) -> None:
    gpus.take()
    options: TokenizerOptions = arguments.options
    seed, device = arguments.seed, best_device()
    annotated = options.checkpoint is None and options.annotation_weight > 0
    classes = arguments.classes if annotated else {}
    files = OpenFiles(arguments.cache_mb * 10**6)
    source = TissueTiles(
        training_tissue(arguments.sheet, arguments.results, classes, files)
        if options.checkpoint is None
        else []  # nothing may depend on slides: all token maps would be made again with another one
    )
    if options.checkpoint is not None:
        origin = from_checkpoint(located(options.checkpoint, "tokenizer"), options, device)
    elif source.slides:
        origin = from_tissue(source, options, seed, device)
    else:
        raise HolohistoError(
            arguments.sheet,
            "no slide has the split train",
            advice="give at least one, or set tokenizer.checkpoint",
        )
    examples = range(PICTURE_TILES if source.slides else 0)
    tiles = [source.example(n, STATISTICS_TILES, PICTURE_SIDE) for n in examples]
    write_tsv(origin.rows, TrainingRow, arguments.table)
    write_picture(origin.model, tiles, arguments.picture)
    save_tokenizer(origin.model, arguments.tokenizer, origin.summary)
