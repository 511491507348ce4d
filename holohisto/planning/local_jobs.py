"""The fork server of the jobs on this machine, where there are many of small slides."""

import contextlib
import errno
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from holohisto.runtime.atomic import ABANDONED_SECONDS
from holohisto.runtime.fork_client import SMALL_BYTES, VARIABLE, VERBS
from holohisto.sheet.cells import Row

PREFIX, SOCKET = "holohisto-jobs-", "socket"
"""Start of the name of a server's folder, and the name of its socket there."""
LEAST_JOBS = 12
"""Jobs of small slides for which a server pays, whose imports take three seconds."""
LONGEST_PATH = 100
"""Bytes of a socket's path; Linux allows 107."""
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
    _remove_abandoned()
    try:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))  # for this user alone
    except OSError:  # the disk is full or read-only: jobs run as without a server
        return False
    path = folder / SOCKET
    if len(os.fsencode(path)) > LONGEST_PATH or not _started(path):
        shutil.rmtree(folder, ignore_errors=True)
        return False
    os.environ[VARIABLE] = str(path)
    return True


def _started(path: Path) -> bool:
    """Start a server; False where the system has no room for another process."""
    try:
        server = subprocess.Popen(
            [sys.executable, "-m", "holohisto.fork_server", str(path)],
            stdin=subprocess.PIPE,  # ends with this process, however that ends
            start_new_session=True,
            env={**os.environ, **ONE_THREAD, "OMP_WAIT_POLICY": "PASSIVE"},
        )
    except OSError:
        return False
    _servers.append(server)  # garbage would close its input
    return True


def _remove_abandoned() -> None:
    """Remove the folders of this user's servers that were killed: nobody accepts jobs there."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            state = (folder / SOCKET).lstat()
            old = time.time() - state.st_mtime > ABANDONED_SECONDS  # it may be about to listen
            if old and stat.S_ISSOCK(state.st_mode) and state.st_uid == os.getuid():
                client.setblocking(False)
                if client.connect_ex(str(folder / SOCKET)) == errno.ECONNREFUSED:
                    (folder / SOCKET).unlink()
                    folder.rmdir()


def _is_small(image: Path) -> bool:
    try:
        return image.stat().st_size <= SMALL_BYTES
    except OSError:
        return False
