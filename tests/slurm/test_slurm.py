"""The workflow on a real SLURM that is started for it: `make test-slurm`, as root, on Debian."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import tifffile
import yaml
from safetensors import safe_open
from tiny_cohort import CONFIG, ROOT, make_folder, row, write_sheet, write_slide

HERE = Path(__file__).parent
GPU_RULES = {"tokenizer", "tokens", "train", "infer"}
EPOCHS = 100  # SLURM looks at time limits every 30 s
HANGS = 900  # seconds; a run takes eight minutes beside all other tests on two cores
SITE = {
    "slurm-init-seconds-before-status-checks": 15,
    "latency-wait": 20,
    "config": {"scratch": "$HOLOHISTO_SCRATCH"},
    "default-resources": ["slurm_account=kidney", "slurm_partition=cpu"],
    "set-resources": {
        "tokenizer": {"slurm_partition": "gpu", "gpu_model": "h200"},
        # Too little for torch at the first attempt, on one of the slides.
        "tokens": {
            "slurm_partition": "gpu",
            "mem_mb": "400 * attempt ** 2 if wildcards.slide == 'e1' else 3000",
        },
        "train": {"slurm_partition": "gpu"},
        "infer": {"slurm_partition": "gpu"},
    },
}
pytestmark = pytest.mark.slurm


@dataclass(frozen=True)
class Job:
    """What SLURM's accounting says of a job."""

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
    found = []
    for line in text.splitlines():
        number, comment, partition, state, memory, minutes, tres = line.split("|")
        rule, _, words = comment.removeprefix("rule_").partition("_wildcards_")
        gpus = dict(part.split("=") for part in tres.split(",") if part).get("gres/gpu", "0")
        found.append(
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
    return [job for job in sorted(found, key=lambda job: job.number) if job.number > after]


def slurm(*words: str) -> str:
    return subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout


def until(what: str, found: Callable[[], object], seconds: float = HANGS) -> object:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := found():
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
            # The nodes' names are not those of hosts, so the ranks are told where the first one is.
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


@pytest.fixture(scope="module")
def cluster():
    state = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    begun = subprocess.run([HERE / "start.sh", state], stderr=subprocess.PIPE, text=True)
    try:
        if begun.returncode == 3:
            pytest.skip(begun.stderr.strip().splitlines()[-1])
        assert begun.returncode == 0, begun.stderr
        yield state
        columns = "JobID%6,Comment%-36,Partition%9,State%10,Elapsed,ReqMem%8,Timelimit,AllocTRES%60"
        print(slurm("sacct", "-X", "--units=M", f"--format={columns}"))
    finally:
        subprocess.run([HERE / "stop.sh", state], check=False)
        shutil.rmtree(state)


@pytest.fixture(scope="module")
def folder(cluster, tmp_path_factory):
    """A cohort of two slides beside a copy of the workflow, and a site's own profile."""
    folder = make_folder(tmp_path_factory.mktemp("slurm") / "run")
    for seed, slide in enumerate(("t1", "e1")):
        write_slide(folder, slide, seed)
    write_sheet(folder, [row("t1", "train"), row("e1", "test")])
    config = CONFIG | {
        "models": {"holohisto": CONFIG["models"]["holohisto"]},
        "train": CONFIG["train"] | {"epochs": EPOCHS},
    }
    (folder / "config" / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "workflow").symlink_to(ROOT / "workflow")
    (folder / "slurm").symlink_to("profiles/slurm")
    (folder / "site").mkdir()
    (folder / "site" / "config.yaml").write_text(yaml.safe_dump(SITE))
    return folder


@pytest.fixture(scope="module")
def finished(folder):
    """A whole run, whose training is stopped by SLURM as its time limit is said to be over."""
    run = start(folder)
    checkpoint = folder / "results/models/holohisto/segmenter.checkpoint"
    until("a checkpoint of the training", lambda: checkpoint.exists() or run.poll())
    slurm("scontrol", "update", f"JobId={running('train')}", "EndTime=now+3")
    finish(run, folder)
    return folder


def test_only_rules_with_a_gpu_get_one_on_the_gpu_partition(finished):
    done = [job for job in jobs() if job.state == "COMPLETED"]
    assert sorted((job.rule, job.words) for job in done) == sorted(
        [
            ("infer", "holohisto_e1"),
            ("deliver_mask_metrics", ""),
            ("prepare_check_foreground", ""),
            ("prepare_check_foreground", ""),
            ("cohort", ""),
            ("gallery", ""),
            ("report", ""),
            ("tokenizer", ""),
            ("tokens", "e1"),
            ("tokens", "t1"),
            ("train", "holohisto"),
        ]
    )
    for job in jobs():
        expected = ("gpu", 1) if job.rule in GPU_RULES else ("cpu", 0)
        assert (job.partition, job.gpus) == expected, job


def test_memory_and_time_follow_the_slide(finished):
    """The slides are small, and `check` said so before these jobs were submitted."""
    asked = {job.rule: (job.memory, job.minutes) for job in jobs()}
    assert asked["deliver_mask_metrics"] == ("2000M", 2 * 16)  # one after the other
    assert asked["infer"] == ("12002M", 16)


def test_a_job_out_of_memory_is_tried_again_with_more(finished):
    first, second = (job for job in jobs() if (job.rule, job.words) == ("tokens", "e1"))
    assert first.state in ("FAILED", "OUT_OF_MEMORY")
    assert (first.memory, second.memory, second.state) == ("400M", "1600M", "COMPLETED")


def test_training_killed_by_its_time_limit_goes_on(finished):
    first, second = (job for job in jobs() if job.rule == "train")
    assert (first.state, second.state) == ("TIMEOUT", "COMPLETED")
    assert (first.memory, second.memory) == ("32000M", "64000M")
    assert second.minutes == 2 * 1440
    log = (finished / "logs/train/holohisto.log").read_text()
    resumed_after = int(log.split("resuming after epoch ")[1].split(",")[0])
    assert 1 <= resumed_after < EPOCHS
    table = (finished / "results/models/holohisto/training.tsv").read_text().splitlines()
    assert len(table) == 1 + EPOCHS
    assert not (finished / "results/models/holohisto/segmenter.checkpoint").exists()


def test_slides_are_copied_to_scratch_and_removed(finished):
    for log in ("tokens/t1.log", "infer/holohisto/e1.log"):
        text = (finished / "logs" / log).read_text()
        assert f"tif copied to {finished}/scratch/holohisto-" in text
    assert not list((finished / "scratch").iterdir())


def test_a_second_run_submits_nothing(finished):
    last = jobs()[-1].number
    assert "Nothing to be done" in finish(start(finished), finished)
    assert jobs(after=last) == []


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


@pytest.fixture(scope="module")
def cancelled(finished):
    """Another slide file, and a run that is ended by Ctrl-C while its tokens are computed."""
    last = jobs()[-1].number
    write_slide(finished, "e1", seed=77)
    run = start(finished)
    until("the job of the tokens", lambda: running("tokens") or run.poll())
    time.sleep(3)
    os.kill(run.pid, signal.SIGINT)
    assert run.wait(timeout=60) != 0
    until("an empty queue", lambda: not slurm("squeue", "-h"), 30)
    return last


def test_cancelling_leaves_nothing_running_and_nothing_half_written(finished, cancelled):
    assert slurm("squeue", "-h") == ""
    assert [(job.rule, job.state) for job in jobs(after=cancelled)] == [
        ("prepare_check_foreground", "COMPLETED"),
        ("tokens", "CANCELLED"),
    ]
    require_whole(finished)


def test_after_that_a_run_submits_only_what_the_changed_slide_needs(finished, cancelled):
    last = jobs()[-1].number
    finish(start(finished), finished)
    done = [job for job in jobs(after=last) if job.state == "COMPLETED"]
    assert sorted((job.rule, job.words) for job in done) == sorted(
        [
            ("infer", "holohisto_e1"),
            ("deliver_mask_metrics", ""),
            ("cohort", ""),
            ("gallery", ""),
            ("report", ""),
            ("tokens", "e1"),
        ]
    )
    require_whole(finished)


def train_again(folder: Path, **options: int) -> list[str]:
    """Words that train the model again, for two epochs, and do nothing else.

    By small steps, as Adam's make rounding larger.
    """
    short = {"epochs": 2, "batch": 4, "learning_rate": 1e-4}
    (folder / "short.yaml").write_text(yaml.safe_dump({"train": CONFIG["train"] | short | options}))
    files = [str(folder / "config/config.yaml"), str(folder / "short.yaml")]
    return ["--configfile", *files, "--until", "train", "--forcerun", "train"]


def losses(folder: Path) -> list[float]:
    table = (folder / "results/models/holohisto/training.tsv").read_text().splitlines()
    place = table[0].split("\t").index("loss")
    return [float(line.split("\t")[place]) for line in table[1:]]


def test_training_that_makes_room_for_another_job_goes_on_bit_for_bit(cancelled, finished):
    """SLURM ends the job and queues it again by itself, as when it is preempted."""
    expected = losses(finished)
    last = jobs()[-1].number
    run = start(finished, "--until", "train", "--forcerun", "train")
    checkpoint = finished / "results/models/holohisto/segmenter.checkpoint"
    until("a checkpoint of the training", lambda: checkpoint.exists() or run.poll())
    number = running("train")
    slurm("scontrol", "requeue", number)
    until("the job in the queue", lambda: number in slurm("squeue", "-h", "-t", "PD", "-o", "%A"))
    slurm("scontrol", "update", f"JobId={number}", "StartTime=now")  # else in two minutes
    finish(run, finished)
    (job,) = jobs(after=last)
    assert (job.rule, job.state, str(job.number)) == ("train", "COMPLETED", number)
    assert "Restarts=1 " in slurm("scontrol", "show", "job", number)
    log = (finished / "logs/train/holohisto.log").read_text()
    assert "resuming after epoch" in log
    assert len(expected) == EPOCHS
    assert losses(finished) == expected


def test_training_on_two_nodes_of_two_gpus_is_that_of_one_process(cancelled, finished):
    """Four processes by srun, with two GPUs on each node, and the losses of one process.

    That one has one thread, as each of the four: another number of threads rounds otherwise.
    """
    alone = [sys.executable, "-m", "snakemake", "--cores", "1", *train_again(finished)]
    subprocess.run(alone, cwd=finished, check=True, capture_output=True)
    expected = losses(finished)
    last = jobs()[-1].number
    words = train_again(finished, nodes=2, devices=2)
    finish(start(finished, *words), finished)
    assert len(expected) == 2
    assert losses(finished) == pytest.approx(expected, rel=1e-5, abs=0)
    (job,) = jobs(after=last)
    assert (job.rule, job.state, job.gpus) == ("train", "COMPLETED", 4)
    nodes = slurm("sacct", "-X", "-n", "-P", "-j", str(job.number), "--format=NodeList").strip()
    assert nodes == "gpu[01-02]"
