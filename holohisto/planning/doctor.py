"""Resources that a job has: cores, memory, GPU, scratch disk, versions, working readers."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import psutil
import tifffile

from holohisto.errors import HolohistoError
from holohisto.runtime.processor import trial
from holohisto.runtime.units import bytes_text
from holohisto.slide.probe import Probe
from holohisto.slide.sources import open_source

READERS = {
    "cucim": "cucim-cu12",
    "openslide": "openslide-python",
    "tifffile": "tifffile",
    "libvips": "pyvips",
}
"""Readers of slides and their packages."""
NO_LIMIT = 2**60
"""Bytes; control groups without a memory limit report this or more."""
SCRATCH_TRIAL = 64 * 2**20
"""Bytes written to measure the scratch disk."""
PICTURE_SIZE = (333, 211)
"""Width and height of the slide that each reader reads."""


@dataclass(frozen=True)
class Finding:
    """A line of the verb's output: the subject, its state, and whether that is a fault."""

    subject: str
    text: str
    bad: bool = False


def examine(scratch: Path, torch_facts: Callable[[], Finding]) -> list[Finding]:
    """Examine the host, the job, memory, GPUs, processor, scratch disk and readers.

    Args:
        scratch: The folder for node-local copies.
        torch_facts: Examines the GPU; an argument, because this package must not import torch.
    """
    return [
        host(),
        slurm_job(os.environ),
        cores(os.environ),
        memory(os.environ),
        driver(os.environ),
        torch_facts(),
        processor(),
        scratch_disk(scratch),
        *(reader(name) for name in READERS),
    ]


def host() -> Finding:
    """Name, system and Python."""
    system = f"{platform.system()} {platform.release()}"
    return Finding("host", f"{platform.node()}, {system}, Python {platform.python_version()}")


def slurm_job(environment: Mapping[str, str]) -> Finding:
    """The SLURM job of this process."""
    number = environment.get("SLURM_JOB_ID")
    if number is None:
        return Finding("job", "not in a SLURM job")
    node = environment.get("SLURMD_NODENAME", "?")
    partition = environment.get("SLURM_JOB_PARTITION", "?")
    return Finding("job", f"SLURM {number} on {node}, partition {partition}")


def cores(environment: Mapping[str, str]) -> Finding:
    """Cores of the machine and of this process."""
    usable, total = len(os.sched_getaffinity(0)), os.cpu_count() or 0
    given = environment.get("SLURM_CPUS_PER_TASK") or environment.get("SLURM_CPUS_ON_NODE")
    text = f"{usable} usable of {total}" + (f", {given} given by SLURM" if given else "")
    return Finding("cores", text, bad=bool(given) and usable < int(given or 0))


def memory(environment: Mapping[str, str], groups: Path = Path("/sys/fs/cgroup")) -> Finding:
    """Memory of the machine and the job's limit."""
    memory = psutil.virtual_memory()
    text = f"{bytes_text(memory.total)}, {bytes_text(memory.available)} free"
    if (limit := _limit(groups)) is not None:
        text += f"; limited to {bytes_text(limit)}"
    if given := environment.get("SLURM_MEM_PER_NODE"):
        text += f"; {bytes_text(int(given) * 2**20)} given by SLURM"
    return Finding("memory", text)


def driver(environment: Mapping[str, str]) -> Finding:
    """GPUs of the driver and of the job."""
    given = environment.get("CUDA_VISIBLE_DEVICES")
    allocated = "" if given is None else f"; CUDA_VISIBLE_DEVICES={given}"
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True)
    except FileNotFoundError:
        return Finding("driver", "no nvidia-smi" + allocated)
    except (subprocess.SubprocessError, OSError) as error:
        return Finding("driver", f"nvidia-smi fails: {error}{allocated}", bad=True)
    return Finding("driver", "; ".join(done.stdout.strip().splitlines()) + allocated)


def processor() -> Finding:
    """OpenVINO, which computes networks on the CPU, and the precisions it has here."""
    try:
        return Finding("processor", trial())
    except Exception as error:  # a broken package may raise anything
        return Finding("processor", f"OpenVINO: {type(error).__name__}: {error}", bad=True)


def scratch_disk(folder: Path) -> Finding:
    """Free space and writing speed of the scratch folder."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            start = time.monotonic()
            file.write(bytes(SCRATCH_TRIAL))
            file.flush()
            os.fsync(file.fileno())
            seconds = max(time.monotonic() - start, 1e-6)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Finding("scratch", f"{folder}: {error.strerror}", bad=True)
    speed = bytes_text(SCRATCH_TRIAL / seconds)
    return Finding("scratch", f"{folder}: {bytes_text(free)} free, writes {speed} a second")


def reader(name: str, work: Callable[[str], str] | None = None) -> Finding:
    """Read a small slide with this reader, in a separate process: a bad build may crash it.

    Args:
        name: One of `READERS`.
        work: Reads a slide and returns the fault, or an empty string.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            trouble = pool.submit(work or read_picture, name).result()
        except BrokenProcessPool:
            trouble = "crashes the process"
        except Exception as error:  # a broken package may raise anything
            trouble = f"{type(error).__name__}: {error}"
    version = importlib.metadata.version(READERS[name])
    return Finding(
        f"reader {name}", f"{version}, {' '.join(trouble.split()) or 'works'}", bad=bool(trouble)
    )


def read_picture(name: str) -> str:
    """Write a small tiled TIFF and read it back; return the fault, or an empty string."""
    width, height = PICTURE_SIZE
    pixels = np.arange(width * height * 3, dtype=np.uint32).astype(np.uint8)
    pixels = pixels.reshape(height, width, 3)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.tif"
        tifffile.imwrite(path, pixels, tile=(128, 128), photometric="rgb", compression="lzw")
        source = open_source(path, Probe(name, "lzw", [PICTURE_SIZE]))
        try:
            read = np.asarray(source.read(0, 7, 5, 300, 200))[..., :3]
        finally:
            source.close()
    return "" if np.array_equal(read, pixels[5:205, 7:307]) else "reads other pixels"


def require_healthy(findings: list[Finding]) -> None:
    """Raise one error that lists all faults.

    Raises:
        HolohistoError: a reader, the GPU or the scratch folder does not work.
    """
    if trouble := [f"{finding.subject}: {finding.text}" for finding in findings if finding.bad]:
        raise HolohistoError("doctor", "; ".join(trouble))


def _limit(groups: Path) -> int | None:
    """The smallest memory limit of this process's control groups, bytes; None: no limit."""
    try:
        lines = Path("/proc/self/cgroup").read_text().split()
    except OSError:
        lines = []
    paths = [Path(line.split(":", 2)[2].lstrip("/")) for line in lines if line.count(":") >= 2]
    limits: list[int] = []
    for group in {folder for path in paths for folder in (path, *path.parents)} | {Path()}:
        version2 = groups / group / "memory.max"
        version1 = groups / "memory" / group / "memory.limit_in_bytes"
        for file in (version2, version1):
            try:
                limits.append(int(file.read_text()))
            except (OSError, ValueError):
                continue
    return min((limit for limit in limits if limit < NO_LIMIT), default=None)
