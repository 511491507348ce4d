"""Fitting a model to the training slides of a cohort, from open files to the segmenter file."""

import logging
import math
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from holohisto.config.models import reads_tokens
from holohisto.device import resolve_precision
from holohisto.errors import HolohistoError
from holohisto.runtime.open_files import OpenFiles
from holohisto.runtime.progress import phase
from holohisto.runtime.tsv import write_tsv
from holohisto.segmenter.baselines.threshold import ThresholdSegmenter
from holohisto.segmenter.card import ModelCard
from holohisto.segmenter.file import Network, build_segmenter, save_segmenter
from holohisto.segmenter.inputs import TileEncoder
from holohisto.segmenter.start import Cohort, start
from holohisto.slide.record import SlideRecord
from holohisto.tokenizer.file import load_tokenizer, tokenizer_digest
from holohisto.tokenizer.vqgan import VQGAN
from holohisto.training.gpu_memory import out_of_memory, prepare_memory
from holohisto.training.identity import training_identity
from holohisto.training.job import TrainingJob
from holohisto.training.opening import common_precision, open_slides
from holohisto.training.progress import ValidationRow
from holohisto.training.schedule import StepPlan
from holohisto.training.slides import TrainingSlide
from holohisto.training.threshold_fit import fit_threshold
from holohisto.training.trainer import Trainer

LINEAR_DOWNSCALE = 16
"""Side in pixels of the squares that are embedded linearly by networks without tokens."""
Slides = dict[str, list[TrainingSlide]]
"""Opened slides of the splits train and val."""
Fitted = tuple[dict[str, Tensor], dict[str, Any]]
"""Weights of a segmenter, and facts of its training for the segmenter file."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Machine:
    """What a training runs on; alters its speed and memory only."""

    fabric: Fabric
    """Device, precision and ranks; launched."""
    workers: int
    """Threads that read tiles."""
    activation_checkpointing: bool | None
    """Whether blocks of `holohisto` recompute inner activations in the backward pass; None: where a
    step would not fit the GPU otherwise."""
    cache_bytes: int = 2 * 10**9
    """Memory for open files, which get a half, and for validation tiles."""


def fit_segmenter(job: TrainingJob, machine: Machine, segmenter: Path, table: Path) -> None:
    """Train a model and write its segmenter file and its training table.

    An interrupted training of the same identity resumes from the checkpoint beside `segmenter`,
    which is removed in the end.

    Raises:
        HolohistoError: no training slides, files of other slides or tokenizers, pretrained weights
            of another network, or a training that fails (see `Trainer.run`).
    """
    first_rank = machine.fabric.is_global_zero
    tokenizer = load_tokenizer(job.results.tokenizer) if reads_tokens(job.model) else None
    with phase("opening slides"):
        slides = _open(job, tokenizer, first_rank, OpenFiles(machine.cache_bytes // 2))
    encoder = _tile_encoder(job, machine, tokenizer)
    maps_precision = common_precision(chain.from_iterable(slides.values()))
    torch.manual_seed(job.seed)
    downscale = tokenizer.architecture.downscale if tokenizer else LINEAR_DOWNSCALE
    codebook = tokenizer.quantize.codes if tokenizer else None
    model = build_segmenter(job.model, codebook, downscale, len(job.classes))
    mpp = SlideRecord.read(job.results.record(slides["train"][0].name)).working_mpp
    digest = tokenizer_digest(tokenizer) if tokenizer else None
    started = start(model, job.model, Cohort(tuple(job.classes), mpp, digest))
    checkpoint = segmenter.with_suffix(".checkpoint")
    with phase("training"):
        if isinstance(model, ThresholdSegmenter):
            weights, summary = _fit_threshold(job, slides["train"], table)
        else:
            weights, summary = _fit_network(job, machine, model, slides, encoder, checkpoint, table)
    if not first_rank:
        return
    card = ModelCard(
        name=job.name,
        options=job.model,
        classes=tuple(job.classes),
        mpp=mpp,
        tile=model.tile or job.options.tile,
        tokenizer=digest,
        downscale=downscale,
        mode=job.tokens.mode,
        precision=encoder.precision if encoder else maps_precision,
        summary={**started, **summary},
    )
    save_segmenter(weights, card, segmenter)
    checkpoint.unlink(missing_ok=True)


def _open(job: TrainingJob, tokenizer: VQGAN | None, first_rank: bool, files: OpenFiles) -> Slides:
    online = job.tokens.mode == "online"
    digest = None if tokenizer is None or online else tokenizer_digest(tokenizer)
    slides = {split: open_slides(job, split, digest, files) for split in ("train", "val")}
    if not slides["train"]:
        raise HolohistoError(job.sheet, "no slide has the split train")
    if not slides["val"] and first_rank:
        logger.warning("no slide has the split val: the last weights are kept, not the best")
    return slides


def _tile_encoder(
    job: TrainingJob, machine: Machine, tokenizer: VQGAN | None
) -> TileEncoder | None:
    """Return what encodes tiles in mode `online`; None in the other modes."""
    if tokenizer is None or job.tokens.mode != "online":
        return None
    precision = resolve_precision(job.tokens.precision, machine.fabric.device)
    return TileEncoder(tokenizer, precision)


def _fit_threshold(job: TrainingJob, slides: list[TrainingSlide], table: Path) -> Fitted:
    model = fit_threshold(slides, len(job.classes), job.options.tile)
    rules = [model.describe(index) for index in range(len(job.classes))]
    for name, rule in zip(job.classes, rules, strict=True):
        logger.info("%s: %s", name, rule)
    write_tsv([], ValidationRow, table)
    return model.state_dict(), {"fitted": rules, "parameters": 2 * len(rules)}


def _fit_network(
    job: TrainingJob,
    machine: Machine,
    model: Network,
    slides: Slides,
    encoder: TileEncoder | None,
    checkpoint: Path,
    table: Path,
) -> Fitted:
    if machine.fabric.device.type == "cpu":
        model = model.to(memory_format=torch.channels_last)  # pyright: ignore
    _prepare_memory(job, machine, model, slides["train"])
    trainer = Trainer(
        model,
        slides["train"],
        slides["val"],
        job.options,
        job.seed,
        machine.fabric,
        machine.workers,
        encoder,
        machine.cache_bytes // 2,
    )
    try:
        for rows in trainer.run(checkpoint, training_identity(job, slides, encoder)):
            if machine.fabric.is_global_zero:
                write_tsv(rows, ValidationRow, table)
    except torch.OutOfMemoryError as error:
        raise out_of_memory(trainer.plan) from error
    best = trainer.progress.best or trainer.average.model.state_dict()
    return best, _summary(trainer)


def _prepare_memory(
    job: TrainingJob, machine: Machine, model: Network, slides: list[TrainingSlide]
) -> None:
    fabric = machine.fabric
    areas = [slide.area for slide in slides]
    plan = StepPlan.of(model, areas, job.options, fabric.world_size)
    on_gpu = fabric.device.type == "cuda"
    memory = torch.cuda.get_device_properties(fabric.device).total_memory if on_gpu else None
    checkpointing = machine.activation_checkpointing
    prepare_memory(model, plan, len(job.classes), checkpointing, memory)


def _summary(trainer: Trainer) -> dict[str, Any]:
    progress, plan = trainer.progress, trainer.plan
    tiles = progress.step * plan.batch
    return {
        "steps": progress.step,
        "validation_dice": progress.best_dice if progress.best_step else None,
        "tile": plan.tile,
        "tiles_a_step": plan.batch,
        "tiles": tiles,
        "pixels": tiles * math.prod(plan.tile),
        "variants": len(trainer.batches.variants),
        "seconds": sum(row.seconds for row in progress.rows),
        "parameters": sum(p.numel() for p in trainer.raw_model.parameters() if p.requires_grad),
    }
