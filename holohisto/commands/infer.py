"""`holohisto infer`: segment a whole slide."""

import argparse
import logging
import os
from pathlib import Path

from holohisto.config.parsing import from_json
from holohisto.config.sections import Classes, InferOptions
from holohisto.foreground.map import load_foreground
from holohisto.foreground.tissue import Tissue
from holohisto.infer import checks
from holohisto.infer.agreement import precision_agreement
from holohisto.infer.engine import EngineOptions, open_predictor
from holohisto.infer.job import Speed
from holohisto.infer.probability_map import DIVISOR
from holohisto.infer.resume import identity_of
from holohisto.infer.segmentation import Segmentation, input_reader, job_for, labels_header
from holohisto.pyramid.write import write_rows
from holohisto.runtime import atomic, gpus
from holohisto.runtime.journal import Journal
from holohisto.runtime.progress import phase
from holohisto.runtime.seal import sealed_json
from holohisto.segmenter.card import load_weights
from holohisto.slide.record import SlideRecord
from holohisto.slide.scratch import staged

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add, cores = parser.add_argument, len(os.sched_getaffinity(0))
    file = {"type": Path, "metavar": "FILE"}
    add("image", type=Path, metavar="IMAGE", help="image file of the slide")
    add("--scratch", metavar="DIR", help="node-local folder that the slide is copied to first")
    add("--record", **file, required=True, help="record of `check`, .json")
    add("--foreground", **file, required=True, help="foreground map, .tif")
    add("--tokens", **file, help="token map, for segmenters that read one")
    add("--tokenizer", **file, help="tokenizer, for segmenters trained with tokens.mode online")
    add("--segmenter", **file, required=True, help="segmenter of `train`")
    options = {"type": from_json(InferOptions), "default": InferOptions(), "metavar": "JSON"}
    add("--options", **options, help="the configuration's section `infer`")
    classes = "the configuration's section `classes`, which must name the segmenter's"
    add("--classes", type=from_json(Classes), metavar="JSON", help=classes)
    count = {"type": int, "metavar": "N"}
    add("--threads", **count, default=cores, help="CPU threads; affects the time only")
    add("--batch", **count, default=1, help="tiles computed at once; affects the time only")
    add("--queue", **count, default=4, help="batches read ahead; affects the time only")
    add("--labels", **file, required=True, help="labels to write, .tif")
    add("--probability", **file, required=True, help="probability map to write, .tif")
    add("--facts", **file, help="times, and disagreement of tiles, to write, .json")


def run(arguments: argparse.Namespace) -> None:
    gpus.take()
    record = SlideRecord.read(arguments.record)
    foreground = load_foreground(arguments.foreground, record)
    _, card, digest = load_weights(arguments.segmenter)
    checks.require_resolution(card, record, arguments.segmenter)
    checks.require_classes(card, arguments.classes, arguments.segmenter)
    token_map = checks.token_map_for(card, arguments.segmenter, arguments.tokens, record)
    job = job_for(card, record.working_size, foreground, arguments.options)
    threads = max(1, arguments.threads)
    engine = EngineOptions(job.fitted, arguments.options.precision, threads)
    predictor = open_predictor(
        arguments.segmenter, card, digest, arguments.tokenizer, engine, arguments.labels.parent
    )
    header = labels_header(record, card, digest, job)
    device = f"{predictor.name}, {predictor.engine}"
    identity = identity_of(header, record, arguments.options, foreground.mask, token_map, device)
    speed = Speed(max(1, arguments.batch), threads, max(1, arguments.queue), predictor.parallel)
    segmentation = Segmentation(predictor, job, speed, arguments.probability.parent)
    with (
        predictor.working(),
        Journal(arguments.labels.with_suffix(".journal"), identity) as journal,
        staged(arguments.image, arguments.scratch) as image,
        record.open(image) as slide,
        phase("segmenting"),
    ):
        tissue = Tissue(slide, record.scale, foreground)
        read = input_reader(predictor, tissue, token_map)
        labels = segmentation.labels(read, journal)
        write_rows(arguments.labels, labels, job.size, record.working_mpp, header)
        header, mpp = {**header, "divisor": DIVISOR}, record.working_mpp * DIVISOR
        probability, size = segmentation.probability(), segmentation.probability_size
        with segmentation.writing():
            write_rows(arguments.probability, probability, size, mpp, header)
        agreement = precision_agreement(predictor, read, job)
    facts = {"slide": record.slide, "model": card.name}
    facts |= {"device": predictor.name, "engine": predictor.engine}
    facts |= {**segmentation.facts(card.classes), "precision_agreement": agreement}
    if arguments.facts:
        atomic.write_text(arguments.facts, sealed_json(facts))
    journal.discard()
    logger.info("bottleneck: %s; seconds at work: %s", facts["bottleneck"], facts["stages"])
