"""The GPU of a process, when several jobs of one machine each need their own.

SLURM gives every job its own GPUs. Elsewhere all jobs see all GPUs and would share the first one,
so each takes the first GPU that no other process of this user has locked. A lock ends with its
process, even if that is killed.
"""

import fcntl
import logging
import os
import shutil
import stat
import subprocess
import tempfile
from itertools import product
from pathlib import Path

from holohisto.errors import HolohistoError

logger = logging.getLogger(__name__)
VISIBLE = "CUDA_VISIBLE_DEVICES"
"""Environment variable of the GPUs that CUDA shows to a process."""
TAKEN = "HOLOHISTO_GPUS"
"""Set for the processes that a job starts: they share the job's GPUs."""
DEVICE_FILES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""Device files of the drivers that torch's CUDA and ROCm builds use."""
SHARERS = 64
"""Most processes that share one GPU, once all are taken."""
_locks: list[int] = []


def visible() -> list[str]:
    """Return the GPUs that this process may use, as CUDA names them; none without a driver."""
    named = os.environ.get(VISIBLE)
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip() not in ("", "-1")]
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, check=False)
    return done.stdout.split() if done.returncode == 0 else []


def may_exist() -> bool:
    """Return whether it is worth asking torch for a GPU, which takes seconds to import."""
    return os.environ.get(VISIBLE) != "" and any(Path(name).exists() for name in DEVICE_FILES)


def take(count: int = 1) -> list[str]:
    """Restrict this process to `count` GPUs of its own, before it first touches CUDA.

    Nothing is done in a SLURM job with GPUs, in a process whose parent has taken GPUs, and where
    there is no choice. When all GPUs are taken they are shared.

    Returns:
        The GPUs taken; empty where nothing was done.
    """
    if TAKEN in os.environ or ("SLURM_JOB_ID" in os.environ and VISIBLE in os.environ):
        return []
    available = visible()
    if len(available) < max(2, count):
        return []
    folder = Path(tempfile.gettempdir()) / f"holohisto-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    state = folder.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid() or state.st_mode & 0o022:
        raise HolohistoError(
            folder, "is no folder of yours alone", advice="remove it, or set TMPDIR to another"
        )
    taken: list[str] = []
    for sharer, name in product(range(SHARERS), available):
        if len(taken) == count:
            break
        if name not in taken and _lock(folder / f"{name.replace('/', '_')}.{sharer}"):
            taken.append(name)
    os.environ[VISIBLE] = os.environ[TAKEN] = ",".join(taken)
    logger.info("using GPU %s of %d", ", ".join(taken), len(available))
    return taken


def _lock(path: Path) -> bool:
    """Lock a file until the process ends; return False if another process has locked it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return False
    _locks.append(handle)
    return True
