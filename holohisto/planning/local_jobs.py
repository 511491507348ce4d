"""The fork server of the jobs on this machine, where there are many of small slides."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from holohisto.runtime.fork_client import SMALL_BYTES, VARIABLE, VERBS
from holohisto.sheet.cells import Row

LEAST_JOBS = 12
"""Jobs of small slides for which a server pays, whose imports take three seconds."""
LONGEST_PATH = 100
"""Characters of a socket's path; Linux allows 107."""
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Libraries read these when they are imported; a server may have one thread only."""
_servers: list["subprocess.Popen[bytes]"] = []


def start_server(jobs: Iterable[Any], rows: Mapping[str, Row]) -> bool:
    """Start a fork server if it pays, and name it to the jobs in their environment.

    It accepts jobs once it has imported everything, and ends with this process.

    Args:
        jobs: Jobs of Snakemake that will run on this machine.
        rows: Rows of the sheet by slide.

    Returns:
        Whether it was started.
    """
    slides = [job.wildcards.slide for job in jobs if job.rule.name in VERBS]
    small = {slide for slide in set(slides) if _is_small(rows[slide].image)}
    # The variable is set already, to nothing, by a user who wants no server.
    if VARIABLE in os.environ or sum(slide in small for slide in slides) < LEAST_JOBS:
        return False
    folder = Path(tempfile.mkdtemp(prefix="holohisto-"))  # for this user alone
    path = folder / "socket"
    if len(str(path)) > LONGEST_PATH:
        shutil.rmtree(folder)
        return False
    server = subprocess.Popen(
        [sys.executable, "-m", "holohisto.fork_server", str(path)],
        stdin=subprocess.PIPE,  # ends with this process, however that ends
        start_new_session=True,
        env={**os.environ, **ONE_THREAD, "OMP_WAIT_POLICY": "PASSIVE"},
    )
    _servers.append(server)  # garbage would close its input
    os.environ[VARIABLE] = str(path)
    return True


def _is_small(image: Path) -> bool:
    try:
        return image.stat().st_size <= SMALL_BYTES
    except OSError:
        return False
