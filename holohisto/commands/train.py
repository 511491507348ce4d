"""Train a segmenter."""

import argparse
import logging
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from holohisto.annotation import Annotation
from holohisto.config.models import (
    BackboneModel,
    ColourThresholdModel,
    HolohistoModel,
    ModelOptions,
    reads_tokens,
)
from holohisto.config.parsing import from_json
from holohisto.config.sections import Classes
from holohisto.config.training import TokensOptions, TrainOptions
from holohisto.errors import HolohistoError
from holohisto.foreground.map import load_foreground
from holohisto.foreground.tissue import Tissue
from holohisto.runtime import gpus
from holohisto.runtime.identity import hash_of_inputs
from holohisto.runtime.progress import phase, track
from holohisto.runtime.results import Results
from holohisto.runtime.slurm import require
from holohisto.runtime.tsv import write_tsv
from holohisto.segmenter.baselines import pretrained
from holohisto.segmenter.file import Card, Segmenter, build_segmenter, save_segmenter
from holohisto.segmenter.holohisto.model import HolohistoSegmenter
from holohisto.sheet.cells import Row
from holohisto.sheet.rows import read_sheet
from holohisto.slide.record import SlideRecord
from holohisto.tokenizer.file import load_tokenizer, tokenizer_digest
from holohisto.tokenizer.vqgan import VQGAN
from holohisto.tokens.token_map import (
    load_token_map,
    require_mode,
    require_slide,
    require_tokenizer,
)
from holohisto.training.progress import EpochRow
from holohisto.training.ranks import make_fabric
from holohisto.training.sampler import SamplingArea
from holohisto.training.slides import TrainingSlide, annotated_cells
from holohisto.training.summary import kept_weights, threshold_summary, training_summary
from holohisto.training.threshold_fit import fit_threshold
from holohisto.training.trainer import Trainer

LINEAR_DOWNSCALE = 16
"""Pixels a side of what is embedded where no tokens are."""
logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, help="name of the model")
    parser.add_argument("--sheet", type=Path, required=True)
    parser.add_argument(
        "--results", type=Results, default="results", help="folder of the run's results"
    )
    parser.add_argument("--tokens-options", type=from_json(TokensOptions), default=TokensOptions())
    parser.add_argument("--model-options", type=from_json(ModelOptions), required=True)
    parser.add_argument("--options", type=from_json(TrainOptions), default=TrainOptions())
    parser.add_argument("--classes", type=from_json(Classes), required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--devices", type=int, default=1, help="GPUs of a node")
    parser.add_argument(
        "--nodes", type=int, default=1, help="of a SLURM job; srun starts all ranks"
    )
    parser.add_argument(
        "--activation-checkpointing", type=int, choices=(0, 1), default=0, help="see the options"
    )
    parser.add_argument("--workers", type=int, default=2, help="threads that read tiles")
    parser.add_argument("--segmenter", type=Path, required=True, help="the segmenter to write")
    parser.add_argument("--table", type=Path, required=True, help="training table to write")


def run(arguments: argparse.Namespace) -> None:
    options: ModelOptions = arguments.model_options
    by_tokens = reads_tokens(options)
    if isinstance(options, HolohistoModel) and options.sampler:
        own = {"sampler": options.sampler}
        arguments.options = arguments.options.model_copy(update=own)
    mode = arguments.tokens_options.mode
    require(arguments.devices, arguments.nodes)
    gpus.take(arguments.devices)
    fabric = make_fabric(arguments.devices, arguments.nodes)
    fabric.launch()  # on one node it starts the other devices' processes, each from the top
    tokenizer = load_tokenizer(arguments.results.tokenizer) if by_tokens else None
    with phase("opening slides"):
        slides = {split: _open(arguments, split, tokenizer) for split in ("train", "val")}
    if not slides["train"]:
        raise HolohistoError(arguments.sheet, "no slide has the split train")
    if not slides["val"] and fabric.is_global_zero:
        logger.warning("no slide has the split val: the last epoch is kept, not the best")
    torch.manual_seed(arguments.seed)
    downscale = tokenizer.architecture.downscale if tokenizer else LINEAR_DOWNSCALE
    codebook = tokenizer.quantize.codes if tokenizer else None
    model = build_segmenter(options, codebook, downscale, len(arguments.classes))
    init = pretrained.start(model, options)
    with phase("training"):
        if isinstance(options, ColourThresholdModel):
            state, summary = _fit(arguments, slides)
        else:
            online = tokenizer if mode == "online" else None
            state, summary = _train(arguments, model, slides, online, fabric)
    first = slides["train"][0]
    card = Card(
        name=arguments.model,
        options=options,
        classes=tuple(arguments.classes),
        mpp=_mpp(arguments, first.name),
        tile=model.tile or arguments.options.tile,
        tokenizer=tokenizer_digest(tokenizer) if tokenizer else None,
        downscale=downscale,
        mode=mode,
        summary={"pretrained": init, **summary},
    )
    if not fabric.is_global_zero:
        return
    save_segmenter(state, card, arguments.segmenter)
    arguments.segmenter.with_suffix(".checkpoint").unlink(missing_ok=True)


def _train(
    arguments: argparse.Namespace,
    model: Segmenter,
    slides: dict[str, list[TrainingSlide]],
    online: VQGAN | None,
    fabric: Fabric,
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    if fabric.device.type == "cpu":
        model = model.to(memory_format=torch.channels_last)  # pyright: ignore
    if isinstance(model, HolohistoSegmenter):
        model.backbone.activation_checkpointing = bool(arguments.activation_checkpointing)
    trainer = Trainer(
        model,
        slides["train"],
        slides["val"],
        arguments.options,
        arguments.seed,
        fabric,
        arguments.workers,
        online,
    )
    identity = _identity(arguments, slides, online)
    for rows in trainer.run(arguments.segmenter.with_suffix(".checkpoint"), identity):
        if fabric.is_global_zero:
            write_tsv(rows, EpochRow, arguments.table)
    return kept_weights(trainer), training_summary(trainer)


def _fit(
    arguments: argparse.Namespace, slides: dict[str, list[TrainingSlide]]
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    tile = arguments.options.tile
    model = fit_threshold(slides["train"], len(arguments.classes), tile)
    for place, name in enumerate(arguments.classes):
        logger.info("%s: %s", name, model.describe(place))
    write_tsv([], EpochRow, arguments.table)
    return model.state_dict(), threshold_summary(model, len(arguments.classes))


def _open(
    arguments: argparse.Namespace, split: str, tokenizer: VQGAN | None
) -> list[TrainingSlide]:
    classes = tuple(arguments.classes)
    rows = [
        row
        for row in read_sheet(arguments.sheet, classes).values()
        if row.split == split and not row.exclude
    ]
    online = arguments.tokens_options.mode == "online"
    digest = tokenizer_digest(tokenizer) if tokenizer is not None and not online else None
    return [_open_one(arguments, row, digest) for row in track(rows, len(rows), split, "slide")]


def _open_one(arguments: argparse.Namespace, row: Row, digest: str | None) -> TrainingSlide:
    record = SlideRecord.read(arguments.results.record(row.slide))
    found = load_foreground(arguments.results.foreground(row.slide), record)
    if row.annotation is None:
        raise HolohistoError(arguments.sheet, f"slide {row.slide} has no annotation to train with")
    annotation = Annotation(
        row.annotation, arguments.classes, record.size, record.factor, row.annotated
    )
    token_map = None
    if digest is not None:
        path = arguments.results.tokens(row.slide)
        token_map = load_token_map(path)
        require_tokenizer(token_map, digest, path)
        require_slide(token_map, record.fingerprint, row.slide, path)
        require_mode(token_map, arguments.tokens_options.mode, path)
    size, cell = record.working_size, found.cell
    wanted = row.split == "train" and arguments.options.annotated_share > 0
    annotated = (
        annotated_cells(annotation, size, record.factor, cell) if wanted else found.mask & False
    )
    return TrainingSlide(
        name=row.slide,
        tissue=Tissue(record.open(row.image), record.factor, found),
        annotation=annotation,
        known=tuple(row.annotated is None or name in row.annotated for name in arguments.classes),
        area=SamplingArea(size, cell, found.mask, annotated),
        token_map=token_map,
    )


def _mpp(arguments: argparse.Namespace, slide: str) -> float:
    return SlideRecord.read(arguments.results.record(slide)).working_mpp


def _identity(
    arguments: argparse.Namespace,
    slides: dict[str, list[TrainingSlide]],
    online: VQGAN | None,
) -> str:
    """Hash of every input that affects the training; only a run with the same one is resumed."""
    model = arguments.model_options
    inputs: list[Any] = [
        model.model_dump_json(),
        arguments.options.model_dump_json(),
        {name: options.values for name, options in arguments.classes.items()},
        arguments.seed,
        tokenizer_digest(online) if online else None,
        model.pretrained if isinstance(model, BackboneModel) else None,
    ]
    for split, opened in slides.items():
        for slide in opened:
            facts = [slide.name, slide.tissue.slide.fingerprint, slide.factor, slide.known.tolist()]
            inputs += [split, *facts, slide.annotation.path, slide.area.foreground]
            if slide.token_map is not None:
                inputs += [slide.token_map.tokenizer, *slide.token_map.tokens]
    return hash_of_inputs(*inputs)
