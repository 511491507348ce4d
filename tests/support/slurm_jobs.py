"""The jobs of a SLURM, and runs of the workflow on it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tifffile
import yaml
from safetensors import safe_open
from tiny_cohort import CONFIG

HANGS = 900
"""Seconds; a run takes eight minutes beside all other tests on two cores."""


@dataclass(frozen=True)
class Job:
    """A job in SLURM's accounting."""

    number: int
    rule: str
    words: str
    partition: str
    state: str
    memory: str
    minutes: int
    gpus: int


def jobs(after: int = 0) -> list[Job]:
    """All jobs with a higher number, in the order of submission."""
    columns = "JobIDRaw,Comment,Partition,State,ReqMem,TimelimitRaw,AllocTRES%200"
    text = slurm("sacct", "-X", "-n", "-P", "--units=M", f"--format={columns}")
    entries = []
    for line in text.splitlines():
        number, comment, partition, state, memory, minutes, tres = line.split("|")
        rule, _, words = comment.removeprefix("rule_").partition("_wildcards_")
        gpus = dict(entry.split("=") for entry in tres.split(",") if entry).get("gres/gpu", "0")
        entries.append(
            Job(
                int(number),
                rule,
                words,
                partition,
                state.split()[0],
                memory,
                int(minutes or 0),
                int(gpus),
            )
        )
    return [job for job in sorted(entries, key=lambda job: job.number) if job.number > after]


def slurm(*words: str) -> str:
    return subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout


def until(what: str, condition: Callable[[], object], seconds: float = HANGS) -> object:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.2)
    raise AssertionError(f"{what}: not within {seconds} s")


def start(folder: Path, *words: str) -> subprocess.Popen:
    """The command as a site would type it, in a folder that looks like the repository's root."""
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    with (folder / "run.log").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", "--profile", "slurm", "--profile", "site", *words],
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Ctrl-C must reach it, even where these tests run in a shell's background.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            # The nodes' names are no hosts' names, so the ranks need the address of the first one.
            env=os.environ | {"HOLOHISTO_SCRATCH": str(scratch), "MASTER_ADDR": "127.0.0.1"},
        )


def finish(run: subprocess.Popen, folder: Path) -> str:
    code = run.wait(timeout=HANGS)
    text = (folder / "run.log").read_text()
    assert code == 0, text[-6000:]
    return text


def running(rule: str) -> str:
    """Number of the job of this rule that runs now, or nothing."""
    for line in slurm("squeue", "-h", "-t", "RUNNING", "-o", "%A %k").splitlines():
        number, _, comment = line.partition(" ")
        if comment.removeprefix("rule_").partition("_wildcards_")[0] == rule:
            return number
    return ""


def require_whole(folder: Path) -> None:
    """Nothing half-written: no temporary file, and every file opens to its end."""
    files = [path for path in (folder / "results").rglob("*") if path.is_file()]
    files = [path for path in files if path.name != ".snakemake_timestamp"]  # of a folder it made
    assert not [path for path in files if path.name.startswith(".")]
    assert not list((folder / "scratch").iterdir())
    for path in files:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="numpy") as opened:
                for name in opened.keys():  # noqa: SIM118  # it is no dict
                    opened.get_tensor(name)
        elif path.suffix == ".tif":
            tifffile.imread(path)
        elif path.suffix == ".json":
            json.loads(path.read_text())


def train_again(folder: Path, **options: int) -> list[str]:
    """Words that train the model again, for a few steps, and do nothing else.

    By small steps, as Adam's make rounding larger.
    """
    short = {"steps": 4, "validate_every": 2, "batch": 4, "learning_rate": 1e-5}
    (folder / "short.yaml").write_text(yaml.safe_dump({"train": CONFIG["train"] | short | options}))
    files = [str(folder / "config/config.yaml"), str(folder / "short.yaml")]
    return ["--configfile", *files, "--until", "train", "--forcerun", "train"]


def losses(folder: Path) -> list[float]:
    table = (folder / "results/models/holohisto/training.tsv").read_text().splitlines()
    column = table[0].split("\t").index("loss")
    return [float(line.split("\t")[column]) for line in table[1:]]
