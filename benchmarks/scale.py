"""Time and memory of a dry run over cohorts of 600 and 6,000 slides.

    python benchmarks/scale.py

Writes sheets of empty files that stand for slides, half of the rows `test`, a tenth `train`, and
runs `snakemake -n` on each with the profiles default and slurm, on a machine that need not have
SLURM. Counts jobs, and the entries of the queue that they are, also with `--group-components
prepare=8`. Exits with 1 when 600 slides take 30 s of a core or more, or ten times the slides more
than fifteen times as much.
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
    """What one dry run took and planned."""

    seconds: float
    cpu: float
    """Seconds of a core: other work on the machine hardly lengthens them."""
    peak_mb: float
    jobs: int
    entries: int
    """Of the queue: a group is one."""


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
    found = {}
    heads = ("seconds", "CPU s", "peak MB", "jobs", "entries")
    print(f"{'slides':>7} {'grouping':<24}" + "".join(f"{head:>9}" for head in heads))
    for slides in SIZES:
        with tempfile.TemporaryDirectory() as name:
            write_cohort(Path(name), slides)
            for title, options in {
                "the profile's": (),
                "prepare=8": ("--group-components", "prepare=8"),
            }.items():
                one = found[slides, title] = dry_run(Path(name), *options)
                print(
                    f"{slides:>7} {title:<24}{one.seconds:>9.1f}{one.cpu:>9.1f}{one.peak_mb:>9.0f}"
                    f"{one.jobs:>9}{one.entries:>9}",
                    flush=True,
                )
    few, many = (found[slides, "the profile's"].cpu for slides in SIZES)
    print(f"ten times the slides: {many / few:.1f} times the work")
    sys.exit(few >= LONGEST or many / few > GROWTH)


if __name__ == "__main__":
    main()
