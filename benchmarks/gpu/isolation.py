"""Running a part in a process of its own, so that its failure costs no other part's figures."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.gpu import record

POLL_SECONDS = 0.5
GRACE_SECONDS = 3.0
"""Between the request to end and the kill."""
LEAST_SECONDS = 5.0
"""A part with less time is not started."""
Outcome = dict[str, Any]
"""`status` (done, failed, out of time, skipped, running), `seconds`, `result`, and a `reason`
where it is not done."""


def run(
    command: list[str],
    seconds: float,
    result: Path,
    log: Path,
    progress: Callable[[Outcome], None] = lambda outcome: None,
) -> Outcome:
    """Run a command for so many seconds at most and return its outcome.

    Args:
        command: Program and arguments; writes `result` as it goes along, whole at any moment.
        seconds: After which it is ended, with all processes that it started.
        result: JSON file that the command writes; its key `error` is the reason of a failure.
        log: File that its output is appended to.
        progress: Called with the outcome so far whenever `result` has changed.
    """
    if seconds < LEAST_SECONDS:
        return {"status": "skipped", "seconds": 0.0, "reason": "no time was left", "result": {}}
    start = time.monotonic()
    with log.open("ab") as out:
        first = out.tell()
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
        code = _wait(process, start + seconds, result, progress, start)
        _end_group(process)
    found = record.read(result)
    outcome = {"status": "done", "seconds": round(time.monotonic() - start, 1), "result": found}
    error = found.pop("error", None)
    if code is None:
        outcome |= {"status": "out of time", "reason": f"ended after {seconds:.0f} s"}
    elif code != 0:
        outcome |= {"status": "failed", "reason": error or f"exit {code}: {_last_line(log, first)}"}
    return outcome


def _wait(
    process: subprocess.Popen,
    deadline: float,
    result: Path,
    progress: Callable[[Outcome], None],
    start: float,
) -> int | None:
    """Return the exit code, None if the time ran out before."""
    seen = None
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            return None
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(min(POLL_SECONDS, left))
        changed = result.stat().st_mtime_ns if result.exists() else None
        if changed != seen:
            seen = changed
            seconds = round(time.monotonic() - start, 1)
            progress({"status": "running", "seconds": seconds, "result": record.read(result)})


def _end_group(process: subprocess.Popen) -> None:
    """End the process and all that it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)


def _last_line(log: Path, first: int) -> str:
    """The last line that was written from byte `first` on."""
    with log.open("rb") as file:
        file.seek(first)
        lines = file.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "no output")
