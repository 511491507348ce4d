"""The workflow on a real SLURM that is started for it: `make test-slurm`, as root, on Debian."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import yaml
from slurm_jobs import (
    finish,
    jobs,
    losses,
    require_whole,
    running,
    slurm,
    start,
    train_again,
    until,
)
from tiny_cohort import CONFIG, ROOT, make_folder, row, write_sheet, write_slide

HERE = Path(__file__).parent
GPU_RULES = {"tokenizer", "tokens", "train", "infer", "token_value"}
VALIDATIONS = 100
"""SLURM looks at time limits every 30 s; the training takes longer."""
SITE = {
    "slurm-init-seconds-before-status-checks": 15,
    "latency-wait": 20,
    "config": {"scratch": "env:HOLOHISTO_SCRATCH"},
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
        "token_value": {"slurm_partition": "gpu"},
    },
}
pytestmark = pytest.mark.slurm


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
        "train": CONFIG["train"] | {"steps": 3 * VALIDATIONS},
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


def test_only_rules_with_a_gpu_get_one_on_the_gpu_partition(finished):
    done = [job for job in jobs() if job.state == "COMPLETED"]
    assert sorted((job.rule, job.words) for job in done) == sorted(
        [
            ("infer", "holohisto_e1"),
            ("token_value", "holohisto"),
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
    resumed_after = int(log.split("resuming after step ")[1].split()[0])
    assert 1 <= resumed_after < 3 * VALIDATIONS
    table = (finished / "results/models/holohisto/training.tsv").read_text().splitlines()
    assert len(table) == 1 + VALIDATIONS
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
            ("token_value", "holohisto"),
            ("deliver_mask_metrics", ""),
            ("cohort", ""),
            ("gallery", ""),
            ("report", ""),
            ("tokens", "e1"),
        ]
    )
    require_whole(finished)


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
    assert "resuming after step" in log
    assert len(expected) == VALIDATIONS
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
