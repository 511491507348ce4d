"""Jobs of one machine take different GPUs; a fake nvidia-smi stands for the driver."""

import os
import signal
import subprocess
import sys

import pytest

from holohisto.runtime import gpus

JOB = """
import os, sys
from holohisto.runtime import gpus
gpus.take(int(sys.argv[1]))
print(os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with three GPUs and no job yet."""
    for name in (gpus.VISIBLE, gpus.TAKEN, "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nprintf 'GPU-aa\\nGPU-bb\\nGPU-cc\\n'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    jobs = []

    def start(count=1, **environment):
        job = subprocess.Popen(
            [sys.executable, "-c", JOB, str(count)],
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | environment,
        )
        jobs.append(job)
        return job, job.stdout.readline().strip()

    yield start
    for job in jobs:
        job.communicate()


def test_jobs_side_by_side_take_different_gpus_and_then_share(machine):
    assert [machine()[1] for _ in range(3)] == ["GPU-aa", "GPU-bb", "GPU-cc"]
    assert [machine()[1] for _ in range(2)] == ["GPU-aa", "GPU-bb"]


def test_a_gpu_is_free_again_however_its_job_ends(machine):
    first, name = machine()
    assert name == "GPU-aa"
    machine()
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert machine()[1] == "GPU-aa"


def test_a_job_of_two_takes_two_that_are_free(machine):
    machine()
    assert machine(2)[1] == "GPU-bb,GPU-cc"


def test_what_the_user_made_visible_is_chosen_from(machine):
    assert machine(CUDA_VISIBLE_DEVICES="2,0")[1] == "2"
    assert machine(CUDA_VISIBLE_DEVICES="2,0")[1] == "0"


def test_gpus_given_by_slurm_are_left_alone(machine):
    given = {"SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "0,1"}
    assert [machine(**given)[1] for _ in range(2)] == ["0,1", "0,1"]


def test_processes_of_a_job_share_its_gpus(machine):
    given = {gpus.TAKEN: "GPU-bb", "CUDA_VISIBLE_DEVICES": "GPU-bb"}
    assert [machine(**given)[1] for _ in range(2)] == ["GPU-bb", "GPU-bb"]


def test_without_a_driver_nothing_is_done(machine, tmp_path):
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    assert machine()[1] == "None"
