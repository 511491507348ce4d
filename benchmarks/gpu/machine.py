"""The machine that a run is measured on, and how busy its GPU is."""

import contextlib
import importlib
import os
import platform
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from importlib import metadata
from types import TracebackType
from typing import Any, Self

from benchmarks.gpu import record

SAMPLE_SECONDS = 0.1
PACKAGES = ("torch", "numpy", "transformers", "monai", "lightning-fabric", "tifffile", "cucim-cu12")


def facts() -> dict[str, Any]:
    """Device, processor and versions; loads torch."""
    import torch

    cuda = torch.cuda.is_available()
    found: dict[str, Any] = {
        "device": torch.cuda.get_device_name(0) if cuda else "cpu",
        "cuda": torch.version.cuda if cuda else None,
        "gpu_memory_gb": gpu_memory_gb(),
        "cores": len(os.sched_getaffinity(0)),
        "processor": platform.machine(),
        "python": platform.python_version(),
        "packages": {},
    }
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found["packages"][name] = metadata.version(name)
    return found


def gpu_memory_gb() -> float | None:
    """Memory of the GPU in GB, None without one; loads torch."""
    import torch

    if not torch.cuda.is_available():
        return None
    return round(torch.cuda.get_device_properties(0).total_memory / 1e9, 1)


class Busy:
    """Samples, while it is entered, how busy the GPU is.

    NVML gives the share of the last moments in which a kernel was running. Without NVML it is read
    from nvidia-smi; without that there are no samples.
    """

    def __init__(self) -> None:
        """Find out where samples come from."""
        self.samples: list[float] = []
        self._sample = _sampler()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def share(self) -> float | None:
        """Mean of the samples, 0 to 1; None without any."""
        return round(sum(self.samples) / len(self.samples), 3) if self.samples else None

    def __enter__(self) -> Self:
        if self._sample is not None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        assert self._sample is not None
        while not self._stop.wait(SAMPLE_SECONDS):
            try:
                self.samples.append(self._sample())
            except Exception:  # NVML and nvidia-smi fail in many ways; then there is no figure
                return


def _sampler() -> Callable[[], float] | None:
    """What returns the GPU's share of busy time, 0 to 1; None if nothing does."""
    try:
        nvml: Any = importlib.import_module("pynvml")
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByIndex(0)
        nvml.nvmlDeviceGetUtilizationRates(handle)
        return lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
    except Exception:  # no NVML, or one that fails in its own way: nvidia-smi may still answer
        return _from_program if shutil.which("nvidia-smi") else None


def _from_program() -> float:
    query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    done = subprocess.run(query, capture_output=True, text=True, check=True, timeout=5)
    return float(done.stdout.split()[0]) / 100


if __name__ == "__main__":
    from pathlib import Path

    record.write(Path(sys.argv[1]), facts())
