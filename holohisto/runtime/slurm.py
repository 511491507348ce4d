"""The processes that SLURM started for training on several nodes: one for each GPU.

Elsewhere, and on one node, training starts its other processes itself.
"""

import os

from holohisto.errors import HolohistoError


def require(devices: int, nodes: int) -> None:
    """Check that this process is one of `nodes` x `devices` that `srun` started.

    Raises:
        HolohistoError: `srun` started no processes, or not those of the configuration.
    """
    expected = nodes * devices, nodes
    tasks = os.environ.get("SLURM_STEP_NUM_TASKS")
    if tasks is None:
        if nodes == 1:
            return
        raise HolohistoError(
            "train.nodes",
            "several nodes are for SLURM, and srun did not start this process",
            found=nodes,
            allowed=1,
            advice="run the workflow with --profile slurm",
        )
    started = int(tasks), int(os.environ["SLURM_STEP_NUM_NODES"])
    if nodes == 1 and started == (1, 1):
        return  # it starts the other processes
    if nodes == 1 or started != expected or not _evenly(devices):
        raise HolohistoError(
            "train.devices, train.nodes",
            "SLURM started other processes than configured",
            found=f"{_count(*started)} ({os.environ.get('SLURM_STEP_TASKS_PER_NODE', '?')} a node)",
            allowed=_count(*((1, 1) if nodes == 1 else expected)),
            advice="change them in the configuration, not by --set-resources",
        )


def _evenly(devices: int) -> bool:
    """Whether every node has `devices` processes: SLURM writes `2(x3)`, or `3,1` if they differ."""
    return os.environ.get("SLURM_STEP_TASKS_PER_NODE", "").partition("(")[0] == str(devices)


def _count(processes: int, nodes: int) -> str:
    return f"{processes} on {nodes} node{'s' if nodes > 1 else ''}"


def is_first() -> bool:
    """Whether this process is the first, or only, one of its training."""
    ranks = (os.environ.get(name, "0") for name in ("SLURM_PROCID", "LOCAL_RANK"))
    return all(rank == "0" for rank in ranks)
