"""Count what a training step of size B keeps for the backward pass, without a GPU.

    python training_memory.py

Tensors have shapes but no memory (torch's meta device), so a tile of 3840 x 2160 takes seconds. All
is counted in fp32, without the savings of autocast: an upper bound for what autograd keeps.
Workspaces of kernels and transient gradients are not included; `pytest -m gpu -k 24_gb` measures
them.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from holohisto.config.models import HolohistoModel
from holohisto.runtime.arithmetic import ceil_div
from holohisto.segmenter.file import build_segmenter
from holohisto.segmenter.holohisto.backbone import SIZES
from holohisto.segmenter.holohisto.model import HolohistoSegmenter
from holohisto.training.loss import dice_bce

SIZE: Literal["T", "S", "B"] = "B"
WIDTH, HEIGHT, TOKEN, CLASSES = 3840, 2160, 16, 6
STATES = 5
"""Numbers per weight: itself, its gradient, two moments of AdamW, the average."""


@dataclass
class Kept:
    """Memory that autograd holds on to, each storage once."""

    nbytes: dict[int, int] = field(default_factory=dict)
    alive: list[Tensor] = field(default_factory=list)
    """The tensors themselves, so that no storage is freed and its address used again."""

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Count the tensors saved inside the context."""

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            self.nbytes[storage._cdata] = storage.nbytes()
            self.alive.append(tensor)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            yield

    def gigabytes(self, own: set[int]) -> float:
        """Return the sum of all storages but the weights', GB."""
        return sum(size for key, size in self.nbytes.items() if key not in own) / 1e9


def main() -> None:
    """Count with and without activation checkpointing, and print."""
    torch.autocast = lambda *_, **__: contextlib.nullcontext()  # does not support the meta device
    model = build_segmenter(HolohistoModel(size=SIZE), torch.randn(1024, 256), TOKEN, CLASSES)
    assert isinstance(model, HolohistoSegmenter)
    model = model.to("meta").train()
    own = {weight.untyped_storage()._cdata for weight in model.parameters()}
    rows, columns = HEIGHT // TOKEN, WIDTH // TOKEN
    tokens = torch.zeros(1, rows, columns, dtype=torch.int64, device="meta")
    rgb = torch.zeros(1, 3, HEIGHT, WIDTH, dtype=torch.uint8, device="meta")
    target = torch.zeros(1, CLASSES, HEIGHT, WIDTH, dtype=torch.bool, device="meta")
    weights = sum(weight.numel() for weight in model.parameters())
    print(
        f"size {SIZE}: {weights / 1e6:.1f} M weights, {STATES * 4 * weights / 1e9:.2f} GB of states"
    )
    for checkpointing in (False, True):
        model.backbone.activation_checkpointing = checkpointing
        kept = Kept()
        with kept.counted():
            dice_bce(model(tokens, rgb, size=(HEIGHT, WIDTH)), target, torch.ones_like(target))
        setting = f"activation checkpointing {checkpointing}"
        print(f"{setting}: {kept.gigabytes(own):.2f} GB kept for the backward pass")
    inner = []
    backbone, widths = model.backbone, SIZES[SIZE]
    stages = ((backbone.stage1, widths.stage1, 1), (backbone.stage2, widths.stage2, 2))
    for stage, channels, scale in stages:
        x = torch.zeros(1, channels, ceil_div(rows, scale), ceil_div(columns, scale), device="meta")
        kept = Kept()
        with kept.counted():
            next(iter(stage))(x.requires_grad_())
        inner.append(kept.gigabytes(own))
    print(f"one block, while it is recomputed: {max(inner):.2f} GB")


if __name__ == "__main__":
    main()
