"""Part 5: linear attention beside LiteMLA, by the race that stands beside this folder."""

import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.gpu import record
from benchmarks.gpu.task import Task

RACE = Path(__file__).parents[2] / "linear_attention.py"
POLL_SECONDS = 0.5


def measure(task: Task) -> None:
    """Run the race; its figures are kept race by race."""
    device = "cuda" if torch.cuda.is_available() and not task.dry else "cpu"
    written = task.work / "race.json"
    command = [sys.executable, str(RACE), "--device", device, "--json", str(written)]
    command += ["--repeats", str(task.sizes.repeats), "--only", task.sizes.race]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        print(line, end="", flush=True)
        lines.append(line.strip())
        task.put(races=record.read(written))
    marker = "missed: "
    missed = [line.removeprefix(marker) for line in lines if line.startswith(marker)]
    task.put(races=record.read(written), missed=missed)
    if process.wait() not in (0, 1):  # 1: a target was missed
        raise RuntimeError(f"the race ended with {process.returncode}")
