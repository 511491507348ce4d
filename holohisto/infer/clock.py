"""Where the time of a slide goes: reading, tokenising, model, stitching, writing."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

STAGES = ("read", "tokenise", "model", "stitch", "write")
ON_DEVICE = ("tokenise", "model", "stitch")
"""One after another on the device; reading and writing go on beside them."""


class Clock:
    """Seconds that each stage was at work, over all threads. Stages overlap.

    Work queued on a CUDA device is measured there, by events, and never waited for.
    """

    def __init__(self, cuda: bool = False) -> None:
        """All times are 0; `cuda`: whether the stages ON_DEVICE run on a GPU."""
        self._cuda = cuda
        self._seconds: dict[str, float] = dict.fromkeys(STAGES, 0.0)
        self._events: list[tuple[str, Any, Any]] = []
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Add the time spent inside to a stage."""
        if self._cuda and stage in ON_DEVICE:
            import torch

            first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            first.record()
            yield
            last.record()
            with self._lock:
                self._events.append((stage, first, last))
            return
        start = time.perf_counter()
        yield
        self.add(stage, time.perf_counter() - start)

    def add(self, stage: str, seconds: float) -> None:
        """Add seconds measured elsewhere."""
        with self._lock:
            self._seconds[stage] += seconds

    def seconds(self) -> dict[str, float]:
        """Seconds of each stage so far; waits for the device."""
        if self._events:
            import torch

            torch.cuda.synchronize()
        with self._lock:
            for stage, first, last in self._events:
                self._seconds[stage] += first.elapsed_time(last) / 1000
            self._events.clear()
            return {stage: round(value, 3) for stage, value in self._seconds.items()}


def bottleneck(seconds: dict[str, float], readers: int, parallel_batches: int = 1) -> str:
    """Name the stage that the others wait for.

    Reading is shared by `readers` threads, the device's stages follow one another
    (`parallel_batches` of them side by side), and writing has one thread: the longest of the three
    decides; of the device's stages its longest.
    """
    device = sum(seconds[stage] for stage in ON_DEVICE) / max(1, parallel_batches)
    lanes = {
        "read": seconds["read"] / max(1, readers),
        max(ON_DEVICE, key=lambda stage: seconds[stage]): device,
        "write": seconds["write"],
    }
    return max(lanes, key=lambda stage: lanes[stage])
