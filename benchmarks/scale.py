"""Time and memory of a dry run over cohorts of 600 and 6,000 slides.

    python benchmarks/scale.py

Writes sheets of empty files in place of slides, half of the rows `test`, a tenth `train`, and runs
`snakemake -n` on each with the profile slurm; the machine need not have SLURM. Counts jobs and
queue entries, by default and with `--group-components prepare=8`. Exits with 1 when 600 slides take
30 CPU seconds or more, or when ten times the slides take more than fifteen times the CPU time.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SIZES = (600, 6_000)
LONGEST, GROWTH = 30.0, 15.0
SPLITS = ("train", "val", "predict", "predict", "predict", "test", "test", "test", "test", "test")
CONFIG = """
slides: slides.tsv
classes: {glomerulus: {}}
models: {holohisto: {kind: holohisto}}
"""


@dataclass
class Result:
    """Cost and plan of one dry run."""

    seconds: float
    cpu: float
    """CPU seconds, which other work on the machine hardly affects."""
    peak_mb: float
    jobs: int
    entries: int
    """Jobs in the queue of the cluster, where a group counts as one."""


def write_cohort(folder: Path, slides: int) -> None:
    """A sheet, its files, and the configuration."""
    (folder / "slides").mkdir()
    lines = ["slide\timage\tannotation\tgroup\tsubject\tsplit"]
    for number in range(slides):
        name, split = f"s{number:05}", SPLITS[number % len(SPLITS)]
        for suffix in ("tif", "png"):
            (folder / "slides" / f"{name}.{suffix}").touch()
        annotation = "" if split == "predict" else f"slides/{name}.png"
        lines.append(f"{name}\tslides/{name}.tif\t{annotation}\tg1\tp{number}\t{split}")
    (folder / "slides.tsv").write_text("\n".join(lines) + "\n")
    (folder / "config.yaml").write_text(CONFIG)


def dry_run(folder: Path, *options: str) -> Result:
    """Plan the cohort in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "-n",
        "--snakefile",
        ROOT / "workflow" / "Snakefile",
        "--directory",
        folder,
        "--configfile",
        folder / "config.yaml",
        "--profile",
        ROOT / "profiles" / "slurm",
        *options,
    ]
    start = time.monotonic()
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
    seconds = time.monotonic() - start
    text = (folder / "log").read_text()
    if status:
        sys.exit(text[-3000:])
    alone = len(re.findall(r"^rule (?!all)\w+:$", text, flags=re.M))
    groups = len(re.findall(r"^\[.*\] Group job ", text, flags=re.M))
    total = re.search(r"^total +(\d+)$", text, flags=re.M)
    assert total is not None
    cpu = used.ru_utime + used.ru_stime
    return Result(seconds, cpu, used.ru_maxrss / 1024, int(total[1]) - 1, alone + groups)


def main() -> None:
    """Print the table; exit 1 if a target is missed."""
    results = {}
    heads = ("seconds", "CPU s", "peak MB", "jobs", "entries")
    print(f"{'slides':>7} {'grouping':<24}" + "".join(f"{head:>9}" for head in heads))
    for slides in SIZES:
        with tempfile.TemporaryDirectory() as name:
            write_cohort(Path(name), slides)
            for title, options in {
                "the profile's": (),
                "prepare=8": ("--group-components", "prepare=8"),
            }.items():
                result = results[slides, title] = dry_run(Path(name), *options)
                print(
                    f"{slides:>7} {title:<24}{result.seconds:>9.1f}{result.cpu:>9.1f}"
                    f"{result.peak_mb:>9.0f}{result.jobs:>9}{result.entries:>9}",
                    flush=True,
                )
    few, many = (results[slides, "the profile's"].cpu for slides in SIZES)
    print(f"ten times the slides: {many / few:.1f} times the work")
    sys.exit(few >= LONGEST or many / few > GROWTH)


if __name__ == "__main__":
    main()
