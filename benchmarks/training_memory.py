"""Count the GPU memory of a training step of each size, without a GPU.

    python training_memory.py

It is what the verb `train` counts before it starts (`holohisto/training/gpu_memory.py`). `pytest -m
gpu -k 24_gb` measures it.
"""

from typing import Literal, cast

import numpy as np
import torch

from holohisto.config.models import HolohistoModel
from holohisto.config.training import TrainOptions
from holohisto.segmenter.file import build_segmenter
from holohisto.segmenter.holohisto.model import HolohistoSegmenter
from holohisto.training.gpu_memory import step_memory
from holohisto.training.sampler import SamplingArea
from holohisto.training.schedule import StepPlan

SIZES: tuple[Literal["T", "S", "B"], ...] = ("T", "S", "B")
TOKEN, CLASSES, SLIDE = 16, 6, (45_000, 46_000)


def main() -> None:
    """Print the memory of a tile and of a step at the defaults, with and without recomputing."""
    nothing = np.zeros((1, 1), bool)
    areas = [SamplingArea(SLIDE, TOKEN, nothing, nothing.astype(np.uint8))]
    print(f"tiles of {TrainOptions().tile}, {CLASSES} classes, GB")
    print(f"{'size':<5} {'recomputed':>10} {'states':>7} {'a tile':>7} {'a step':>7}")
    for size in SIZES:
        built = build_segmenter(HolohistoModel(size=size), torch.randn(8192, 13), TOKEN, CLASSES)
        model = cast(HolohistoSegmenter, built)
        plan = StepPlan.of(model, areas, TrainOptions(), 1)
        for checkpointing in (False, True):
            model.backbone.activation_checkpointing = checkpointing
            memory = step_memory(model, plan, CLASSES)
            figures = (memory.states, memory.tile, memory.of(plan.micro_batch))
            words = " ".join(f"{figure / 1e9:7.2f}" for figure in figures)
            print(f"{size:<5} {checkpointing!s:>10} {words}")


if __name__ == "__main__":
    main()
