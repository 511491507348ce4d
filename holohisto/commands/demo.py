"""`holohisto demo`: write a synthetic PAS-like cohort to try the pipeline on."""

import argparse
import logging
import shlex
from pathlib import Path

from holohisto.errors import HolohistoError

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        help="folder for slides/, annotations/ and slides.tsv",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of all random numbers (default: %(default)s)"
    )
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        help="scale of the slides' sides, 0.1 to 4; 1: about 1.0 x 0.75 mm (default: %(default)s)",
    )
    parser.add_argument(
        "--slides", type=int, default=16, help="number of slides, 1 to 16 (default: %(default)s)"
    )
    parser.add_argument(
        "--workers", type=int, help="number of processes (default: the number of cores, at most 4)"
    )


def run(arguments: argparse.Namespace) -> None:
    from holohisto.demo.cohort import default_workers, write_cohort

    for name, value, low, high in (
        ("--scale", arguments.scale, 0.1, 4),
        ("--slides", arguments.slides, 1, 16),
        ("--seed", arguments.seed, 0, 2**32 - 1),
        ("--workers", arguments.workers or 1, 1, 64),
    ):
        if not low <= value <= high:
            raise HolohistoError(name, "is out of range", found=value, allowed=f"{low} to {high}")
    path = write_cohort(
        arguments.output,
        arguments.seed,
        arguments.scale,
        arguments.slides,
        arguments.workers or default_workers(),
    )
    command = "snakemake --configfile config/demo.yaml --config %s --cores 2"
    logger.info(f"wrote %s; run `{command}`", path, shlex.quote(f"slides={path}"))
