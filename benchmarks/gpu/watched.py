"""Run the verb `train` in this process and time its steps from outside.

    python -m benchmarks.gpu.watched --result FILE --seconds N --warm-up N -- WORDS OF THE VERB

Hooks of torch mark the end of every optimiser step and the first call of a network after it; in
between the loop waits for its next batch. The training itself is the program's own.
"""

import argparse
import os
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import torch
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_post_hook

from benchmarks.gpu import record
from benchmarks.gpu.machine import Busy
from holohisto import cli


class EnoughError(BaseException):
    """Ends the training when its time is over; no error of the program, which would log it."""


class Watch:
    """Moments of the steps of a training."""

    def __init__(self, seconds: float, warm_up: int) -> None:
        """Begin to listen.

        Args:
            seconds: After which the training is ended.
            warm_up: First steps that do not count.
        """
        self.deadline, self.warm_up = time.monotonic() + seconds, warm_up
        self.ends: list[float] = []
        self.waits: list[float] = []
        """From the end of a step to the first forward pass of the next."""
        self.busy = Busy()
        self._waiting: Any = None
        self._hook = register_optimizer_step_post_hook(self._step_ended)

    def close(self) -> None:
        """Stop listening and sampling."""
        self._hook.remove()
        if self._waiting is not None:
            self._waiting.remove()
        self.busy.__exit__(None, None, None)

    def _step_ended(self, *_: object) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.monotonic()
        self.ends.append(now)
        if len(self.ends) == self.warm_up + 1:
            self.busy.__enter__()
        if now > self.deadline:
            raise EnoughError
        self._waiting = register_module_forward_pre_hook(self._step_started)

    def _step_started(self, *_: object) -> None:
        if self._waiting is not None:
            self._waiting.remove()
            self._waiting = None
            self.waits.append(time.monotonic() - self.ends[-1])

    def figures(self, batch: int) -> dict[str, Any]:
        """Return what the steps after the warm-up took; see `step_figures`.

        Args:
            batch: Tiles a step.
        """
        self.close()
        figures = step_figures(self.ends, self.waits, self.warm_up, batch)
        return figures | {"gpu_busy": self.busy.share}


def step_figures(ends: list[float], waits: list[float], warm_up: int, batch: int) -> dict[str, Any]:
    """Return the speed of the steps after the warm-up.

    Args:
        ends: Seconds at which each step ended.
        waits: Seconds waited after each of them, for all but the last at least.
        warm_up: First steps that do not count; fewer where not even two more ended.
        batch: Tiles a step.

    Raises:
        RuntimeError: fewer than three steps ended.
    """
    if len(ends) < 3:
        raise RuntimeError(f"only {len(ends)} training steps ended in time")
    first = min(warm_up, len(ends) - 2)
    counted = ends[first:]
    seconds = counted[-1] - counted[0]
    steps = sorted(after - before for before, after in pairwise(counted))
    return {
        "warm_up": first,
        "steps": len(steps),
        "steps_per_second": round(len(steps) / seconds, 4),
        "tiles_per_second": round(len(steps) * batch / seconds, 4),
        "median_step_seconds": round(steps[len(steps) // 2], 4),
        "waited_share": round(sum(waits[first : len(ends) - 1]) / seconds, 4),
    }


def _peak_gb() -> float:
    """Most memory of tensors on the GPU; without one, memory of the process. In GB."""
    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 1e9, 2)
    return round(psutil.Process().memory_info().rss / 1e9, 2)


def main() -> int:
    """Train; returns the verb's exit code, 0 when its time was over."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--result", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--warm-up", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("words", nargs="+")
    arguments = parser.parse_args()
    watch = Watch(arguments.seconds, arguments.warm_up)

    def write(ended_early: bool) -> None:
        more = {"peak_gb": _peak_gb(), "ended_early": ended_early}
        record.write(arguments.result, watch.figures(arguments.batch) | more)

    try:
        code = cli.main(arguments.words)
    except EnoughError:
        write(ended_early=True)
        os._exit(0)  # the threads that read tiles would be waited for
    if code == 0:
        write(ended_early=False)
    return code


if __name__ == "__main__":
    sys.exit(main())
