"""Part 4: a whole generated slide, from the check to the masks."""

import json
import os
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu import record, slides, verbs
from benchmarks.gpu.cohort import CLASSES, Cohort
from benchmarks.gpu.task import Task
from holohisto.config.models import HolohistoModel
from holohisto.config.sections import InferOptions
from holohisto.config.training import TokensOptions
from holohisto.device import best_device, resolve_precision
from holohisto.segmenter.card import ModelCard
from holohisto.segmenter.file import build_segmenter, save_segmenter
from holohisto.slide import Slide
from holohisto.tokenizer.file import load_tokenizer, tokenizer_digest

NAME = "whole"


def measure(task: Task) -> None:
    """Run the verbs of one slide one after the other; figures are kept stage by stage."""
    cohort, sizes = Cohort(task.work, task.sizes), task.sizes
    cohort.prepare()
    start = time.monotonic()
    slides.write_slide(cohort.image(NAME), cohort.block()[0], sizes.slide)
    task.put(
        size=list(sizes.slide),
        gigabytes=round(cohort.image(NAME).stat().st_size / 1e9, 3),
        seconds_to_generate=round(time.monotonic() - start, 2),
    )
    segmenter, trained = _segmenter(cohort)
    task.put(segmenter=sizes.models[0], trained=trained)
    with Slide(cohort.image(NAME)) as slide:
        task.put(reader=slide.reader)
    stages: dict[str, Any] = {}
    for stage, (command, written) in calls(task, cohort, segmenter, trained).items():
        stages[stage] = verbs.run(command)
        if written is not None:
            facts = json.loads(written.read_text())
            stages[stage] |= {"own_busy": own_busy(stage, facts), "facts": facts}
        total = round(sum(one["seconds"] for one in stages.values()), 2)
        task.put(stages=stages, seconds_in_all=total)


def own_busy(stage: str, facts: dict[str, Any]) -> float | None:
    """Share of its time in which a stage did not wait for pixels, by its own count.

    Args:
        stage: Name of the verb.
        facts: That the verb wrote.
    """
    if stage == "infer":
        return facts["busy"]
    if stage == "tokens":
        return round(1 - facts["reading_seconds"] / max(facts["seconds"], 1e-9), 4)
    return None


def calls(
    task: Task, cohort: Cohort, segmenter: Path, trained: bool
) -> dict[str, tuple[list[str], Path | None]]:
    """The verb of every stage and the JSON file of facts that it writes."""
    # An untrained network sees objects everywhere; at this threshold it finds none.
    options = InferOptions(tile=task.sizes.tile, threshold=0.5 if trained else 1.0)
    image, own_record = cohort.image(NAME), cohort.results.record(NAME)
    labels, probability = task.work / "labels.tif", task.work / "probability.tif"
    facts, count = task.work / "infer.json", task.work / "mask.json"
    infer = verbs.words(
        "infer",
        image,
        record=own_record,
        foreground=cohort.results.foreground(NAME),
        tokens=cohort.results.tokens(NAME),
        segmenter=segmenter,
        options=options.model_dump_json(exclude={"splits"}),
        classes=CLASSES,
        threads=len(os.sched_getaffinity(0)),
        labels=labels,
        probability=probability,
        facts=facts,
    )
    mask = verbs.words(
        "mask",
        labels,
        image=image,
        record=own_record,
        probability=probability,
        classes=CLASSES,
        masks=task.work / "mask_{class}.tif",
        geojson=task.work / "mask.geojson",
        overlay=task.work / "mask.jpg",
        facts=count,
    )
    return {
        "check": (cohort.check(NAME), None),
        "foreground": (cohort.foreground(NAME), None),
        "tokens": (cohort.tokens(NAME, TokensOptions().single_variant), cohort.quality(NAME)),
        "infer": (infer, facts),
        "mask": (mask, count),
    }


def _segmenter(cohort: Cohort) -> tuple[Path, bool]:
    """The segmenter that the training left behind, else an untrained one; and which it is."""
    size = cohort.sizes.models[0]
    path = cohort.segmenter(size)
    if path.exists():
        return path, True
    torch.manual_seed(0)
    tokenizer, options = load_tokenizer(cohort.tokenizer), HolohistoModel(size=size)
    downscale = tokenizer.architecture.downscale
    model = build_segmenter(options, tokenizer.quantize.codes, downscale, 1)
    record_of_slide = record.read(cohort.results.record(cohort.names[0]))
    card = ModelCard(
        name=size,
        options=options,
        classes=("glomerulus",),
        mpp=record_of_slide["working_mpp"],
        tile=cohort.sizes.tile,
        tokenizer=tokenizer_digest(tokenizer),
        downscale=downscale,
        mode="frozen",
        precision=resolve_precision("auto", best_device()),
        summary={},
    )
    path = cohort.work / "untrained.safetensors"
    save_segmenter(model.state_dict(), card, path)
    return path, False
