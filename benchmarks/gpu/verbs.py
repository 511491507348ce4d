"""Running the program's verbs, each in a process of its own as the workflow does."""

import subprocess
import sys
import time
from typing import Any

from benchmarks.gpu.machine import Busy


def run(*words: object) -> dict[str, Any]:
    """Run one verb to its end.

    Returns:
        `seconds` from start to end of the process and `gpu_busy`, a share or None.

    Raises:
        RuntimeError: the verb failed; the message is the last line of its log.
    """
    with Busy() as busy:
        start = time.monotonic()
        process = _start(words)
        _require(process, words)
        seconds = time.monotonic() - start
    return {"seconds": round(seconds, 2), "gpu_busy": busy.share}


def run_together(*calls: tuple[object, ...]) -> None:
    """Run several verbs at the same time.

    Raises:
        RuntimeError: one of them failed.
    """
    processes = [_start(words) for words in calls]
    for process, words in zip(processes, calls, strict=True):
        _require(process, words)


def _start(words: tuple[object, ...]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "holohisto.cli", *map(str, words)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def _require(process: subprocess.Popen[str], words: tuple[object, ...]) -> None:
    assert process.stderr is not None
    last = "no output"
    for line in process.stderr:
        print(line, end="", flush=True)
        last = line.strip() or last
    if process.wait() != 0:
        raise RuntimeError(f"{words[0]} ended with {process.returncode}: {last}")
