"""Part 3: steps per second of the program's own training, on tiles of a generated cohort."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.gpu import machine, record, verbs
from benchmarks.gpu.cohort import CLASSES, Cohort
from benchmarks.gpu.sizes import Sizes
from benchmarks.gpu.task import Task
from holohisto.config.models import HolohistoModel
from holohisto.config.training import TokensOptions, TrainOptions

GB_A_TILE = {"S": 8.0, "B": 14.0}
"""Estimates of what a tile of 3840 x 2160 takes, from which the first micro-batch is chosen."""
USED_SHARE = 0.85
"""Of a GPU's memory that the estimate may fill."""
LEAST_SECONDS = 15.0
WORKERS = 8
"""Threads that read tiles, as many as the workflow gives to a training."""


def measure(task: Task) -> None:
    """Train every size for its share of the time."""
    cohort, sizes = Cohort(task.work, task.sizes), task.sizes
    cohort.prepare()
    cohort.encode()
    task.put(tile=list(sizes.tile), batch=sizes.batch, seconds_of_preparation=_elapsed(task))
    models: dict[str, Any] = {}
    for place, size in enumerate(sizes.models):
        seconds = task.left / (len(sizes.models) - place)
        models[size] = train(task, cohort, size, seconds)
        task.put(models=models)
    if failed := [size for size, figures in models.items() if "reason" in figures]:
        raise RuntimeError(f"size {failed[0]}: {models[failed[0]]['reason']}")


def train(task: Task, cohort: Cohort, size: str, seconds: float) -> dict[str, Any]:
    """Train one size, in smaller micro-batches if the memory does not hold a larger one.

    Returns:
        The figures, or the `reason` why there are none.
    """
    memory = None if task.dry else machine.gpu_memory_gb()
    together = micro_batch(task.sizes.batch, memory, GB_A_TILE[size])
    end = task.left - seconds
    reason = "no time was left"
    while together >= 1 and task.left - end > LEAST_SECONDS:
        result = task.work / f"{size}.steps.json"
        rest = task.left - end - LEAST_SECONDS
        command = watched(rest, task.sizes, result) + verb(task, cohort, size, together)
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
        print(done.stderr, flush=True)
        if done.returncode == 0:
            return {"micro_batch": together, **record.read(result)}
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
        if "out of memory" not in done.stderr:
            break
        together //= 2
    return {"reason": reason}


def micro_batch(batch: int, memory_gb: float | None, gb_a_tile: float) -> int:
    """Return the largest halving of a batch that the memory holds, at least 1.

    Args:
        batch: Tiles a step.
        memory_gb: Of the GPU; None: unknown, the whole batch.
        gb_a_tile: What a tile takes.
    """
    together = batch
    while together > 1 and memory_gb and together * gb_a_tile > USED_SHARE * memory_gb:
        together //= 2
    return together


def watched(seconds: float, sizes: Sizes, result: Path) -> list[str]:
    """Return the program that runs the verb and times its steps; the verb's words follow."""
    command = [sys.executable, "-m", "benchmarks.gpu.watched", "--result", str(result)]
    command += ["--seconds", f"{seconds:.1f}", "--warm-up", str(sizes.warm_up)]
    return [*command, "--batch", str(sizes.batch), "--"]


def verb(task: Task, cohort: Cohort, size: str, together: int) -> list[str]:
    """Return the words of the verb that trains a size in micro-batches of `together` tiles."""
    sizes = task.sizes
    options = TrainOptions(
        tile=sizes.tile,
        batch=sizes.batch,
        micro_batch=together,
        steps=sizes.training_steps,
        learning_rate=1e-3,
    )
    return verbs.words(
        "train",
        model=size,
        sheet=cohort.sheet,
        results=cohort.results.folder,
        classes=CLASSES,
        tokens_options=TokensOptions().model_dump_json(),
        model_options=HolohistoModel(size=size).model_dump_json(),
        options=options.model_dump_json(),
        workers=min(WORKERS, len(os.sched_getaffinity(0))),
        segmenter=cohort.segmenter(size),
        table=task.work / f"{size}.tsv",
    )


def _elapsed(task: Task) -> float:
    return round(task.seconds - task.left, 1)
