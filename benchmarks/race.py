"""Races: time and peak memory of several implementations, measured side by side.

Contenders run in turns (A B A B ...) after a warm-up turn, so that a disturbance of the machine
slows them all; the table has minimum and median. Peak memory is the increase over the memory before
the run; on a CPU it is that of the first run, in a process of its own for each contender.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import torch

Contenders = dict[str, Callable[[], object]]
"""Name -> action of each contender; the others are compared with the first."""
TOLERANCE = 1.05
"""Ratio of times by which equal programs differ from run to run."""


@dataclass
class Result:
    """Measurements of one contender."""

    seconds: list[float] = field(default_factory=list)
    peak_mb: float = 0.0

    @property
    def best(self) -> float:
        """Minimum of the seconds, which is the least disturbed."""
        return min(self.seconds)

    @property
    def median(self) -> float:
        """Median seconds."""
        return statistics.median(self.seconds)


def options(description: str | None) -> argparse.ArgumentParser:
    """Return the parser with the options of all races."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=2, help="threads of the CPU")
    parser.add_argument("--repeats", type=int, default=5, help="turns that are timed")
    parser.add_argument("--only", default="", help="run only races whose name begins with this")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--weigh", nargs=2, help=argparse.SUPPRESS)  # one contender, own process
    return parser


def run(
    races: dict[str, Callable[[str], Contenders]], arguments: argparse.Namespace
) -> dict[str, dict[str, Result]]:
    """Run all races and print the table; as a child, measure the memory of one contender and exit.

    Args:
        races: Builds the contenders of each race on a device.
        arguments: From `options`.
    """
    torch.set_num_threads(arguments.threads)
    if arguments.weigh:
        name, contender = arguments.weigh
        print(_weigh(races[name](arguments.device)[contender], arguments.device))
        sys.exit(0)
    print(f"{arguments.device}, {arguments.threads} threads, {arguments.repeats} turns")
    print(f"{'race':<34}{'contender':<22}{'least ms':>10}{'median ms':>11}{'peak MB':>10}  ratios")
    measured = {}
    for name, build in races.items():
        if name.startswith(arguments.only):
            contenders = build(arguments.device)
            measured[name] = _race(contenders, arguments)
            for contender, result in measured[name].items():
                if arguments.device == "cuda":  # the allocator's own count: exact in one process
                    result.peak_mb = _weigh(contenders[contender], arguments.device)
                else:
                    result.peak_mb = _peak(name, contender)
            _show(name, measured[name])
            if arguments.json:
                arguments.json.write_text(as_json(measured))
    return measured


def as_json(measured: dict[str, dict[str, Result]]) -> str:
    """Least and median milliseconds and peak megabytes of all contenders, by race, as JSON."""
    figures = {
        name: {
            contender: {
                "least_ms": round(1e3 * result.best, 4),
                "median_ms": round(1e3 * result.median, 4),
                "peak_mb": round(result.peak_mb, 1),
            }
            for contender, result in results.items()
        }
        for name, results in measured.items()
    }
    return json.dumps(figures, indent=2) + "\n"


def verdict(missed: list[str]) -> None:
    """Print the missed targets, then exit: 1 if there are any, else 0."""
    for line in missed:
        print(f"missed: {line}")
    sys.exit(bool(missed))


def _race(contenders: Contenders, arguments: argparse.Namespace) -> dict[str, Result]:
    results = {name: Result() for name in contenders}
    for turn in range(arguments.repeats + 1):
        for name, action in contenders.items():
            seconds = _seconds(action, arguments.device)
            if turn:
                results[name].seconds.append(seconds)
    return results


def _seconds(action: Callable[[], object], device: str) -> float:
    start = time.perf_counter()
    action()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _peak(name: str, contender: str) -> float:
    """Measure peak memory in a process of its own with the same options."""
    done = subprocess.run(
        [sys.executable, *sys.argv, "--weigh", name, contender],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(done.stdout.split()[-1])


def _weigh(action: Callable[[], object], device: str) -> float:
    """Peak memory of the first run of an action, MB."""
    if device == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        action()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    return peak_of(action)


def peak_of(action: Callable[[], object]) -> float:
    """Peak increase of main memory while an action runs, MB."""
    before = psutil.Process().memory_info().rss
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    action()
    status = Path("/proc/self/status").read_text()
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024
    return (peak - before) / 2**20


def _show(name: str, results: dict[str, Result]) -> None:
    first = next(iter(results.values()))
    for contender, result in results.items():
        line = f"{name:<34}{contender:<22}{1e3 * result.best:>10.2f}"
        line += f"{1e3 * result.median:>11.2f}"
        line += f"{result.peak_mb:>10.0f}"
        if result is not first:
            line += f"  {first.best / result.best:.2f}x as fast,"
            line += f" {result.peak_mb / first.peak_mb:.3f} of the memory"
        print(line, flush=True)
        name = ""
