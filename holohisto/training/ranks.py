"""Training on several ranks (processes, one per GPU): launch, sums and checks.

One rank or many compute the same numbers but for rounding.
"""

from pathlib import Path

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from torch import Tensor, distributed
from torch.distributed.nn.functional import all_reduce

from holohisto.device import gpu_count
from holohisto.errors import HolohistoError


def make_fabric(devices: int, nodes: int) -> Fabric:
    """Make the Fabric of a training: one rank per GPU, in bf16 mixed precision.

    Without GPUs there is one rank, or as many as `srun` started on several nodes, in fp32.

    Args:
        devices: GPUs per node.
        nodes: Nodes of the SLURM job; 1 outside of SLURM.

    Raises:
        HolohistoError: this machine has fewer GPUs.
    """
    # On a single node of SLURM, too, Fabric starts the ranks, not srun.
    environment = SLURMEnvironment() if nodes > 1 else LightningEnvironment()
    gpus = gpu_count()
    on_cpu = gpus == 0
    if on_cpu and nodes == 1:
        devices = 1
    if not on_cpu and devices > gpus:
        raise HolohistoError(
            "--devices",
            "asks for more GPUs than there are",
            found=devices,
            allowed=gpus,
            advice="see `resources: gpu` of rule train",
        )
    return Fabric(
        accelerator="cpu" if on_cpu else "cuda",
        devices=devices,
        num_nodes=nodes,
        strategy="ddp" if devices * nodes > 1 else "auto",
        precision=None if on_cpu else "bf16-mixed",
        plugins=[environment],
    )


def require_equal_shares(batch: int, ranks: int) -> None:
    """Refuse a step of `batch` tiles that the ranks cannot share equally.

    Raises:
        HolohistoError: `batch` is no multiple of `ranks`.
    """
    if batch % ranks:
        raise HolohistoError(
            "train.batch",
            "cannot be shared out evenly",
            found=f"{batch} tiles a step over {ranks} devices",
            allowed="a multiple of the devices",
        )


def require_one_step(fabric: Fabric, step: int, checkpoint: Path) -> None:
    """Check that all ranks resumed from the same step.

    Raises:
        HolohistoError: they did not, because not all nodes see the same checkpoint file.
    """
    ranks = fabric.world_size
    if ranks == 1:
        return
    steps = torch.zeros(ranks, dtype=torch.int64)
    steps[fabric.global_rank] = step
    steps = sum_over_ranks(fabric, steps).tolist()
    if len(set(steps)) > 1:
        raise HolohistoError(
            checkpoint,
            "the training's processes do not all see the same checkpoint",
            found=f"steps {steps}",
            advice="it must lie on a file system that all nodes share; if it does, run again",
        )


def sum_over_ranks(fabric: Fabric, values: Tensor) -> Tensor:
    """Return the sum of a tensor over the ranks, on the CPU, without gradients."""
    summed = fabric.all_reduce(values.to(fabric.device), reduce_op="sum")
    assert isinstance(summed, Tensor)
    return summed.cpu()


def over_ranks(sums: Tensor) -> Tensor:
    """Return the sum of a tensor over the ranks, with gradients; unchanged on a single rank.

    Gradients are summed, too, so that with DDP's mean over the ranks every rank ends with the
    gradients of the whole batch.
    """
    return all_reduce(sums) if several_ranks() else sums


def several_ranks() -> bool:
    """Return whether this process is one of several ranks."""
    return distributed.is_available() and distributed.is_initialized()
