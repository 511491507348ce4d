"""GPU memory of a training step, counted before the training starts.

Tensors that autograd keeps for the backward pass are counted on tensors that have shapes but no
memory, in the precision of mixed training, so that a tile of 3840 x 2160 takes seconds on a CPU.
"""

import logging
from dataclasses import dataclass

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call

from holohisto.errors import HolohistoError
from holohisto.runtime.arithmetic import ceil_div
from holohisto.runtime.units import bytes_text
from holohisto.segmenter.file import Network
from holohisto.segmenter.holohisto.model import HolohistoSegmenter
from holohisto.training.loss import dice_bce, pixel_sums
from holohisto.training.schedule import StepPlan

STATES = 5
"""Numbers in fp32 for each weight: itself, its gradient, two moments of AdamW, the average."""
PASSING = 1.25
"""Factor of the memory that is kept: gradients of activations and workspaces come on top. On an
H200, a step of size B on one tile of 3840 x 2160 with six classes took 12.9 GB."""
USABLE = 0.9
"""Share of the GPU's memory that a step may need: a block that recomputes its activations, and the
allocator, take more than is counted."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StepMemory:
    """Memory of training steps of one network on tiles of one size."""

    states: int
    """Bytes of weights, gradients, moments and average."""
    tile: int
    """Bytes for each tile of a micro-batch."""

    def of(self, micro_batch: int) -> int:
        """Return the bytes of a step whose tiles are computed `micro_batch` at a time."""
        return self.states + micro_batch * self.tile

    def largest(self, most_bytes: int, share: int) -> int | None:
        """Return the largest halving of `share` tiles that fits; None if not even one tile does."""
        while share > 1 and self.of(share) > most_bytes:
            share = ceil_div(share, 2)
        return share if self.of(share) <= most_bytes else None


def step_memory(model: Network, plan: StepPlan, classes: int) -> StepMemory:
    """Count the memory of a network's training steps; neither weights nor statistics change.

    Args:
        model: The network, on any device; `activation_checkpointing` of its backbone counts.
        plan: Size of a tile.
        classes: Number of classes.
    """
    weights = sum(weight.numel() for weight in model.parameters())
    return StepMemory(4 * STATES * weights, round(PASSING * _kept_bytes(model, plan, classes)))


def prepare_memory(
    model: Network, plan: StepPlan, classes: int, checkpointing: bool | None, memory: int | None
) -> None:
    """Set activation checkpointing, and log whether a step fits the GPU and what else would help.

    Args:
        model: The network; `activation_checkpointing` of the method's backbone is set.
        plan: Size of a tile, and the tiles of a micro-batch.
        classes: Number of classes.
        checkpointing: Whether blocks recompute activations; None: where a step does not fit else.
        memory: Bytes of the GPU; None: no GPU, nothing is counted.
    """
    method = isinstance(model, HolohistoSegmenter)
    if method:
        model.backbone.activation_checkpointing = bool(checkpointing)
    if memory is None:
        return
    usable = int(USABLE * memory)
    needed = step_memory(model, plan, classes)
    if method and checkpointing is None and needed.of(plan.micro_batch) > usable:
        model.backbone.activation_checkpointing = True
        needed = step_memory(model, plan, classes)
        logger.info("activations are recomputed in the backward pass, so that a step fits the GPU")
    words = (
        f"{plan.micro_batch} tiles of {plan.tile[0]} x {plan.tile[1]} px at a time need about"
        f" {bytes_text(needed.of(plan.micro_batch))} of the GPU's {bytes_text(memory)}"
    )
    if needed.of(plan.micro_batch) <= usable:
        logger.info("%s", words)
    else:
        fitting = needed.largest(usable, plan.micro_batch)
        advice = f"set train.micro_batch: {fitting}" if fitting else "choose a smaller tile"
        logger.warning("%s; if it runs out of memory, %s", words, advice)


def out_of_memory(plan: StepPlan) -> HolohistoError:
    """Return the error of a step that the GPU could not hold."""
    tiles = plan.micro_batch
    advice = f"set train.micro_batch: {ceil_div(tiles, 2)}" if tiles > 1 else "choose smaller tiles"
    return HolohistoError(
        "train",
        "the GPU ran out of memory",
        found=f"{tiles} tiles of {plan.tile[0]} x {plan.tile[1]} px at a time",
        advice=f"{advice}; for `holohisto` also train.activation_checkpointing: true",
    )


def _kept_bytes(model: Network, plan: StepPlan, classes: int) -> int:
    """Return the bytes that autograd keeps of one tile, each storage once, the weights' not."""
    mode, kept, alive = FakeTensorMode(), dict[int, int](), list[Tensor]()

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage.nbytes()
        alive.append(tensor)  # so that no address is used again
        return tensor

    state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    fakes = {name: _fake(mode, tensor) for name, tensor in state.items()}
    own = {fake.untyped_storage()._cdata for fake in fakes.values()}
    width, height = plan.tile
    training = model.training
    model.train()
    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    try:
        with mode, hooks, torch.autocast("cpu", torch.bfloat16):
            tokens = torch.zeros(1, height // plan.snap, width // plan.snap, dtype=torch.int64)
            rgb = torch.zeros(1, 3, height, width, dtype=torch.uint8)
            inputs = tokens if model.needs_tokens else None, rgb if model.needs_pixels else None
            target = torch.zeros(1, classes, height, width, dtype=torch.bool)
            logits = functional_call(model, fakes, inputs, {"size": (height, width)})
            dice_bce(pixel_sums(logits, target, torch.ones_like(target)))
    finally:
        model.train(training)
    return sum(nbytes for key, nbytes in kept.items() if key not in own)


def _fake(mode: FakeTensorMode, tensor: Tensor) -> Tensor:
    """Return a tensor on the CPU of the same shape and kind, without memory."""
    with mode:
        fake = torch.empty(tensor.shape, dtype=tensor.dtype)
    return fake.requires_grad_(tensor.requires_grad)
