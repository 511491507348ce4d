"""Segment a whole slide."""

import argparse
import hashlib
import json
import logging
import math
import os
import platform
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from holohisto import __version__
from holohisto.config.parsing import from_json
from holohisto.config.sections import Classes, InferOptions
from holohisto.device import best_device
from holohisto.errors import HolohistoError
from holohisto.foreground.map import load_foreground
from holohisto.foreground.tissue import Tissue
from holohisto.infer.clock import ON_DEVICE, Clock, bottleneck
from holohisto.infer.pipeline import Band, Job, Speed, TileData, segment_slide
from holohisto.infer.probability_map import DIVISOR, Spool
from holohisto.infer.resume import Kept
from holohisto.pyramid.write import write_rows
from holohisto.runtime import atomic, gpus
from holohisto.runtime.journal import Journal
from holohisto.runtime.prefetch import ahead
from holohisto.runtime.progress import phase
from holohisto.segmenter.file import Card, load_segmenter
from holohisto.segmenter.inputs import Inputs
from holohisto.slide.record import SlideRecord
from holohisto.slide.scratch import staged
from holohisto.tiles.grid import Tile, holds_foreground
from holohisto.tokenizer.file import load_tokenizer, tokenizer_digest
from holohisto.tokenizer.vqgan import VQGAN
from holohisto.tokens.token_map import (
    TokenMap,
    load_token_map,
    require_mode,
    require_slide,
    require_tokenizer,
    tile_tokens,
)

logger = logging.getLogger(__name__)
MPP_RATIO = 1.4  # both sides may be off by check.mpp_tolerance
THREADS_A_TILE = 4
"""Threads that share the arithmetic of a tile on a CPU, however many cores there are: another
number would round differently."""
BANDS_AHEAD = 1
"""Finished bands that wait for the writer."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", type=Path)
    parser.add_argument("--scratch", help="node-local folder that the slide is copied to first")
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--foreground", type=Path, required=True)
    parser.add_argument("--tokens", type=Path, help="needed by segmenters that read tokens")
    parser.add_argument("--tokenizer", type=Path, help="needed by segmenters trained online")
    parser.add_argument("--segmenter", type=Path, required=True)
    parser.add_argument("--options", type=from_json(InferOptions), default=InferOptions())
    parser.add_argument("--classes", type=from_json(Classes), help="the config's classes")
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--threads", type=int, default=cores, help="alters the time only")
    parser.add_argument("--batch", type=int, default=1, help="tiles computed at once")
    parser.add_argument("--queue", type=int, default=4, help="batches read ahead")
    parser.add_argument("--labels", type=Path, required=True, help="labels to write")
    parser.add_argument("--probability", type=Path, required=True, help="probabilities to write")
    parser.add_argument("--facts", type=Path, help="times and seams to write, JSON; else none")


def run(arguments: argparse.Namespace) -> None:
    gpus.take()
    options: InferOptions = arguments.options
    record = SlideRecord.read(arguments.record)
    found = load_foreground(arguments.foreground, record)
    model, card, digest = load_segmenter(arguments.segmenter)
    _require_mpp(record, card, arguments.segmenter)
    _require_classes(arguments.classes, card, arguments.segmenter)
    device = best_device()
    torch.set_num_threads(THREADS_A_TILE)
    model = model.to(device).to(memory_format=torch.channels_last)  # pyright: ignore
    token_map = _token_map(arguments, card, record)
    inputs = Inputs(model, _tokenizer(arguments, card, device))
    job = Job(
        size=record.working_size,
        tile=model.tile or options.tile,
        overlap=options.overlap,
        wanted=lambda tile: holds_foreground(found.mask, found.cell, tile),
        snap=math.lcm(card.downscale if card.tokenizer else 16, DIVISOR),
        threshold=options.threshold,
    )
    header = {
        "slide": record.slide,
        "size": list(record.size),
        "mpp": record.mpp,
        "factor": record.factor,
        "classes": list(card.classes),
        "model": card.name,
        "pretrained": card.summary.get("pretrained", ""),
        "segmenter": digest,
        "threshold": options.threshold,
        "tile": list(job.fitted),
        "overlap": job.overlap,
        "snap": job.snap,
    }
    identity = _identity(header, record, options, found.mask, token_map, device)
    small = Spool(record.working_size, arguments.probability.parent)
    speed = _speed(arguments, device)
    seam = np.zeros((len(card.classes), 2), np.int64)
    clock, start = Clock(device), time.perf_counter()
    journal = Journal(arguments.labels.with_suffix(".journal"), identity)
    with (
        journal,
        staged(arguments.image, arguments.scratch) as image,
        record.open(image) as slide,
        phase("segmenting"),
    ):
        tissue = Tissue(slide, record.factor, found)

        def read(tile: Tile) -> TileData:
            return (
                tile_tokens(token_map, tile) if token_map else None,
                tissue.read(tile) if inputs.pixels else None,
            )

        kept = Kept(journal)
        if kept.count:
            logger.info("taking up after %d of %d bands", kept.count, len(job.ends))
        computed = segment_slide(
            model, inputs, read, job, len(card.classes), speed, clock, kept.count
        )
        bands = kept.adding(ahead(computed, BANDS_AHEAD), clock)
        labels = _labels(bands, small, seam, clock)
        write_rows(arguments.labels, labels, job.size, record.working_mpp, header)
        with clock("write"):
            write_rows(
                arguments.probability,
                small.bands(),
                small.size,
                record.working_mpp * DIVISOR,
                {**header, "divisor": DIVISOR},
            )
    wall = time.perf_counter() - start
    facts = {
        "slide": record.slide,
        "model": card.name,
        "device": _name(device),
        "tiles": sum(map(job.wanted, chain(*job.rows))),
        "all_tiles": sum(map(len, job.rows)),
        "bands": len(job.ends),
        "taken_up": kept.count,
        **_times(clock, wall, speed),
        "seam": dict(zip(card.classes, map(_disagreement, seam.tolist()), strict=True)),
    }
    if arguments.facts:
        atomic.write_text(arguments.facts, json.dumps(facts, indent=2) + "\n")
    journal.discard()
    logger.info("bottleneck: %s; seconds at work: %s", facts["bottleneck"], facts["stages"])


def _labels(
    bands: Iterator[Band], small: Spool, seam: np.ndarray, clock: Clock
) -> Iterator[np.ndarray]:
    """Hand the labels to the writer, and all else aside."""
    for band in bands:
        small.add(band.probability)
        seam += band.seam
        with clock("write"):  # the writer is at work until it asks for more
            yield band.labels


def _speed(arguments: argparse.Namespace, device: torch.device) -> Speed:
    side_by_side = 1 if device.type == "cuda" else max(1, arguments.threads // THREADS_A_TILE)
    return Speed(
        max(1, arguments.batch), max(1, arguments.threads), max(1, arguments.queue), side_by_side
    )


def _times(clock: Clock, wall: float, speed: Speed) -> dict[str, Any]:
    """Seconds in all, seconds each stage was at work, and the stage that the others wait for."""
    seconds = clock.seconds()
    device = sum(seconds[stage] for stage in ON_DEVICE) / speed.parallel_batches
    return {
        "seconds": round(wall, 3),
        "stages": seconds,
        "readers": speed.readers,
        "busy": round(min(1.0, device / wall), 4),
        "bottleneck": bottleneck(seconds, speed.readers, speed.parallel_batches),
    }


def _disagreement(counts: list[int]) -> dict[str, int | float | None]:
    """Share of pixels of the class along tile borders that overlapping tiles see differently."""
    differing, either = counts
    share = round(differing / either, 6) if either else None
    return {"differing": differing, "either": either, "disagreement": share}


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU"


def _identity(
    header: dict[str, Any],
    record: SlideRecord,
    options: InferOptions,
    mask: np.ndarray,
    token_map: TokenMap | None,
    device: torch.device,
) -> str:
    """Digest of all that decides the labels, so that only the same computation is taken up."""
    facts = [__version__, header, record.text(), options.model_dump_json(), _name(device)]
    digest = hashlib.sha256(json.dumps(facts).encode() + np.packbits(mask).tobytes())
    if token_map is not None:
        digest.update(token_map.tokens[0].tobytes())
    return digest.hexdigest()


def _require_mpp(record: SlideRecord, card: Card, path: Path) -> None:
    ratio = record.working_mpp / card.mpp
    if max(ratio, 1 / ratio) > MPP_RATIO:
        raise HolohistoError(
            path,
            "segmenter was trained at another resolution",
            found=f"{card.mpp:g} um/px, slide {record.slide} at {record.working_mpp:g} um/px",
            advice="set check.mpp to the segmenter's",
        )


def _require_classes(classes: Classes | None, card: Card, path: Path) -> None:
    if classes is not None and tuple(classes) != card.classes:
        raise HolohistoError(
            path,
            "segmenter finds other classes than the config names",
            found=", ".join(card.classes),
            allowed=", ".join(classes),
            advice="name the segmenter's in `classes`, or train one",
        )


def _token_map(arguments: argparse.Namespace, card: Card, record: SlideRecord) -> TokenMap | None:
    if card.tokenizer is None or card.mode == "online":
        return None
    if arguments.tokens is None:
        raise HolohistoError(arguments.segmenter, "reads tokens", advice="give --tokens")
    token_map = load_token_map(arguments.tokens)
    require_tokenizer(token_map, card.tokenizer, arguments.tokens)
    require_slide(token_map, record.fingerprint, record.slide, arguments.tokens)
    require_mode(token_map, card.mode, arguments.tokens)
    return token_map


def _tokenizer(arguments: argparse.Namespace, card: Card, device: torch.device) -> VQGAN | None:
    """The tokenizer, where tiles are encoded when they are used."""
    if card.tokenizer is None or card.mode != "online":
        return None
    if arguments.tokenizer is None:
        raise HolohistoError(arguments.segmenter, "was trained online", advice="give --tokenizer")
    tokenizer = load_tokenizer(arguments.tokenizer)
    if tokenizer_digest(tokenizer) != card.tokenizer:
        raise HolohistoError(
            arguments.tokenizer,
            "is not the tokenizer that the segmenter was trained with",
            found=tokenizer_digest(tokenizer)[:12],
            allowed=card.tokenizer[:12],
        )
    return tokenizer.to(device)
