"""Measure everything that needs a GPU, part by part, within a time limit.

    python -m benchmarks.gpu --output FOLDER

Every part runs in a process of its own with its own time. `gpu.json` is rewritten while parts run,
so that a run that is cut off keeps what it has; `gpu.md` holds the same as tables, `gpu.log` all
output. Without a CUDA device, or with --dry, all parts run at sizes for a CPU.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.gpu import isolation, record, table
from benchmarks.gpu.budget import Budget
from benchmarks.gpu.sizes import sizes

ROOT = Path(__file__).parents[2]
END_SECONDS = 5.0
"""Kept back for ending the last part."""


def main() -> int:
    """Run all parts; returns 1 if one is not done, else 0."""
    parser = argparse.ArgumentParser(prog="benchmarks.gpu", description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder of the results")
    parser.add_argument("--dry", action="store_true", help="small sizes, on any machine")
    parser.add_argument("--limit", type=float, default=480.0, help="seconds for everything")
    parser.add_argument("--only", nargs="+", metavar="PART", help="leave out the other parts")
    arguments = parser.parse_args()
    start = time.monotonic()
    arguments.output.mkdir(parents=True, exist_ok=True)
    log = arguments.output / "gpu.log"
    log.write_bytes(b"")
    with tempfile.TemporaryDirectory(prefix="holohisto-gpu-") as name:
        work = Path(name)
        facts = _machine(work / "machine.json")
        dry = arguments.dry or facts.get("device", "cpu") == "cpu"
        chosen = sizes(dry)
        seconds = {
            part: own
            for part, own in chosen.seconds.items()
            if not arguments.only or part in arguments.only
        }
        budget = Budget(arguments.limit - (time.monotonic() - start) - END_SECONDS, seconds)
        moment = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
        kept = record.Record(
            arguments.output, {"dry_run": dry, "started": moment, "commit": _commit(), **facts}
        )
        for part in seconds:
            _run(part, budget.allowed(part), work, dry, log, kept)
        kept.data["seconds"] = round(time.monotonic() - start, 1)
        kept.write()
    print(table.render(kept.data))
    return int(any(part["status"] != "done" for part in kept.data["parts"].values()))


def _run(part: str, seconds: float, work: Path, dry: bool, log: Path, kept: record.Record) -> None:
    """Run one part and record its outcome."""
    print(f"{part}: at most {seconds:.0f} s", flush=True)
    result = work / f"{part}.json"
    command = [sys.executable, "-m", "benchmarks.gpu.parts", part, "--work", str(work)]
    command += ["--seconds", f"{seconds:.1f}", "--result", str(result), *(["--dry"] * dry)]
    outcome = isolation.run(
        command, seconds, result, log, progress=lambda outcome: kept.put(part, outcome)
    )
    kept.put(part, outcome)
    reason = f": {outcome['reason']}" if "reason" in outcome else ""
    print(f"{part}: {outcome['status']} after {outcome['seconds']:.0f} s{reason}", flush=True)


def _machine(path: Path) -> dict:
    """Facts of the machine, found out by another process: this one never loads torch."""
    command = [sys.executable, "-m", "benchmarks.gpu.machine", str(path)]
    subprocess.run(command, check=False, timeout=120)
    return record.read(path)


def _commit() -> str | None:
    """The commit of the working tree, None outside a repository."""
    command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
