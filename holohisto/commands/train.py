"""Train a segmenter."""

import argparse
from pathlib import Path

from holohisto.config.models import HolohistoModel, ModelOptions
from holohisto.config.parsing import from_json
from holohisto.config.sections import Classes
from holohisto.config.training import TokensOptions, TrainOptions
from holohisto.runtime import gpus
from holohisto.runtime.results import Results
from holohisto.runtime.slurm import require
from holohisto.training.fit import Machine, fit_segmenter
from holohisto.training.job import TrainingJob
from holohisto.training.ranks import make_fabric

CHECKPOINTING = {"auto": None, "0": False, "1": True}
"""Values of --activation-checkpointing."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, help="name of the model")
    parser.add_argument("--sheet", type=Path, required=True, help="sample sheet (TSV)")
    parser.add_argument(
        "--results", type=Results, default="results", help="folder of the run's results"
    )
    parser.add_argument(
        "--tokens-options",
        type=from_json(TokensOptions),
        default=TokensOptions(),
        help="section `tokens` of the configuration (JSON)",
    )
    parser.add_argument(
        "--model-options",
        type=from_json(ModelOptions),
        required=True,
        help="the model's entry of `models` in the configuration (JSON)",
    )
    parser.add_argument(
        "--options",
        type=from_json(TrainOptions),
        default=TrainOptions(),
        help="section `train` of the configuration (JSON)",
    )
    parser.add_argument(
        "--classes",
        type=from_json(Classes),
        required=True,
        help="section `classes` of the configuration (JSON)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of all random numbers")
    parser.add_argument("--devices", type=int, default=1, help="GPUs per node")
    parser.add_argument(
        "--nodes", type=int, default=1, help="nodes of the SLURM job; srun starts all processes"
    )
    parser.add_argument(
        "--activation-checkpointing",
        choices=CHECKPOINTING,
        default="auto",
        help="recompute activations in the backward pass, for less memory; auto: where a step does"
        " not fit the GPU else",
    )
    cache = "memory for open slides, decoded annotations and validation tiles"
    parser.add_argument("--cache-mb", type=int, default=2000, help=cache)
    parser.add_argument("--workers", type=int, default=2, help="threads that read tiles")
    parser.add_argument("--segmenter", type=Path, required=True, help="segmenter file to write")
    parser.add_argument("--table", type=Path, required=True, help="training table to write (TSV)")


def run(arguments: argparse.Namespace) -> None:
    model: ModelOptions = arguments.model_options
    options: TrainOptions = arguments.options
    if isinstance(model, HolohistoModel) and model.sampler:
        options = options.model_copy(update={"sampler": model.sampler})
    job = TrainingJob(
        name=arguments.model,
        model=model,
        options=options,
        tokens=arguments.tokens_options,
        classes=arguments.classes,
        seed=arguments.seed,
        sheet=arguments.sheet,
        results=arguments.results,
    )
    require(arguments.devices, arguments.nodes)
    gpus.take(arguments.devices)
    fabric = make_fabric(arguments.devices, arguments.nodes)
    fabric.launch()  # on a single node it starts the other ranks' processes, each from the top
    machine = Machine(
        fabric,
        arguments.workers,
        CHECKPOINTING[arguments.activation_checkpointing],
        cache_bytes=arguments.cache_mb * 10**6,
    )
    fit_segmenter(job, machine, arguments.segmenter, arguments.table)
