"""Part 1: the tests that need a CUDA device."""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.gpu.task import Task

ROOT = Path(__file__).parents[3]
MARK = re.compile(r"\bmark\.gpu\b")
LINE = re.compile(r"^(\S+::.+?) (PASSED|FAILED|SKIPPED|ERROR|XFAIL|XPASS)\b")
ENVIRONMENT = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "COLUMNS": "300"}
"""Only the plugins that are named, and reasons that are not cut."""
REASON = re.compile(r"^(?:FAILED|ERROR) (\S+::.+?)(?: - (.*))?$")


def measure(task: Task) -> None:
    """Run pytest and count the results, test by test."""
    files = [path for path in sorted((ROOT / "tests").rglob("test_*.py")) if marked(path)]
    names = [str(path.relative_to(ROOT)) for path in files]
    command = [sys.executable, "-m", "pytest", "-v", "-m", "gpu", "-o", "addopts=", "--tb=short"]
    command += ["-p", "no:cacheprovider", "--color=no", *names]
    environment = os.environ | ENVIRONMENT
    both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, text=True, **both)
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        print(line, end="", flush=True)
        lines.append(line.rstrip("\n"))
        if LINE.match(lines[-1]):
            task.put(**counts(lines))
    task.put(**counts(lines))
    if process.wait() != 0:
        raise RuntimeError(f"pytest ended with {process.returncode}")


def marked(path: Path) -> bool:
    """Whether a test file holds tests marked `gpu`."""
    return bool(MARK.search(path.read_text()))


def counts(lines: list[str]) -> dict[str, Any]:
    """Count the results in the lines of `pytest -v`.

    Returns:
        `passed`, `failed` (errors too) and `skipped`, and `failures`: the reason of each by test.
    """
    results = Counter(found[2] for line in lines if (found := LINE.match(line)))
    failures = {found[1]: found[2] or "" for line in lines if (found := REASON.match(line))}
    return {
        "passed": results["PASSED"] + results["XPASS"],
        "failed": results["FAILED"] + results["ERROR"],
        "skipped": results["SKIPPED"] + results["XFAIL"],
        "failures": failures,
    }
