"""`holohisto infer`: segment a whole slide."""

import argparse
import json
import logging
import os
import platform
from pathlib import Path

import torch

from holohisto.config.parsing import from_json
from holohisto.config.sections import Classes, InferOptions
from holohisto.device import best_device
from holohisto.foreground.map import load_foreground
from holohisto.foreground.tissue import Tissue
from holohisto.infer import checks
from holohisto.infer.job import Speed
from holohisto.infer.predict import THREADS_A_TILE, Predictor, fixed_threads
from holohisto.infer.probability_map import DIVISOR
from holohisto.infer.resume import identity_of
from holohisto.infer.segmentation import Segmentation, input_reader, job_for, labels_header
from holohisto.pyramid.write import write_rows
from holohisto.runtime import atomic, gpus
from holohisto.runtime.journal import Journal
from holohisto.runtime.progress import phase
from holohisto.segmenter.file import load_segmenter
from holohisto.slide.record import SlideRecord
from holohisto.slide.scratch import staged

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add, cores = parser.add_argument, len(os.sched_getaffinity(0))
    add("image", type=Path, metavar="IMAGE", help="the slide")
    add("--scratch", help="node-local folder that the slide is copied to first")
    add("--record", type=Path, required=True, help="record of check")
    add("--foreground", type=Path, required=True, help="map of foreground")
    add("--tokens", type=Path, help="token map, needed by segmenters that read one")
    add("--tokenizer", type=Path, help="tokenizer, needed by segmenters trained online")
    add("--segmenter", type=Path, required=True, help="segmenter of train")
    options = from_json(InferOptions)
    add("--options", type=options, default=InferOptions(), help="section `infer`, JSON")
    add("--classes", type=from_json(Classes), help="section `classes`, JSON, to be the segmenter's")
    add("--threads", type=int, default=cores, help="CPU threads; alters the time only")
    add("--batch", type=int, default=1, help="tiles computed at once; alters the time only")
    add("--queue", type=int, default=4, help="batches read ahead; alters the time only")
    add("--labels", type=Path, required=True, help="labels to write")
    add("--probability", type=Path, required=True, help="probability map to write")
    add("--facts", type=Path, help="times and seams to write, JSON; else none")


def run(arguments: argparse.Namespace) -> None:
    gpus.take()
    record = SlideRecord.read(arguments.record)
    foreground = load_foreground(arguments.foreground, record)
    model, card, digest = load_segmenter(arguments.segmenter)
    checks.require_resolution(card, record, arguments.segmenter)
    checks.require_classes(card, arguments.classes, arguments.segmenter)
    token_map = checks.token_map_for(card, arguments.segmenter, arguments.tokens, record)
    tokenizer = checks.online_tokenizer(card, arguments.segmenter, arguments.tokenizer)
    device = best_device()
    predictor = Predictor(model.to(device), tokenizer)
    job = job_for(card, model.tile, record.working_size, foreground, arguments.options)
    header, device_name = labels_header(record, card, digest, job), _name(device)
    identity = identity_of(
        header, record, arguments.options, foreground.mask, token_map, device_name
    )
    speed = _speed(arguments.batch, arguments.threads, arguments.queue, device)
    segmentation = Segmentation(predictor, job, speed, arguments.probability.parent)
    with (
        fixed_threads(),
        Journal(arguments.labels.with_suffix(".journal"), identity) as journal,
        staged(arguments.image, arguments.scratch) as image,
        record.open(image) as slide,
        phase("segmenting"),
    ):
        tissue = Tissue(slide, record.factor, foreground)
        labels = segmentation.labels(input_reader(predictor, tissue, token_map), journal)
        write_rows(arguments.labels, labels, job.size, record.working_mpp, header)
        header, mpp = {**header, "divisor": DIVISOR}, record.working_mpp * DIVISOR
        probability, size = segmentation.probability(), segmentation.probability_size
        write_rows(arguments.probability, probability, size, mpp, header)
    facts = {"slide": record.slide, "model": card.name, "device": device_name}
    facts |= segmentation.facts(card.classes)
    if arguments.facts:
        atomic.write_text(arguments.facts, json.dumps(facts, indent=2) + "\n")
    journal.discard()
    logger.info("bottleneck: %s; seconds at work: %s", facts["bottleneck"], facts["stages"])


def _speed(batch: int, threads: int, queue: int, device: torch.device) -> Speed:
    parallel = 1 if device.type == "cuda" else max(1, threads // THREADS_A_TILE)
    return Speed(max(1, batch), max(1, threads), max(1, queue), parallel)


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU"
