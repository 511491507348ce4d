"""The resources of a job, as `holohisto doctor` reports them."""

import os
import re

import pytest

from holohisto import cli
from holohisto.errors import HolohistoError
from holohisto.planning import doctor
from holohisto.planning.doctor import Finding


def test_the_verb_reports_every_subject_once(capsys, tmp_path):
    assert cli.main(["doctor", "--scratch", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [re.split(r"  +", line)[0] for line in lines] == [
        "holohisto",
        "host",
        "job",
        "cores",
        "memory",
        "driver",
        "gpu",
        "processor",
        "scratch",
        "reader cucim",
        "reader openslide",
        "reader tifffile",
        "reader libvips",
    ]
    assert all(line.endswith(", works") for line in lines if line.startswith("reader"))
    assert re.search(r"OpenVINO \d+\.\d+.*, fp32", lines[7])
    assert f"{tmp_path}: " in lines[8]


def test_a_missing_scratch_is_reported_and_ends_with_exit_code_2(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PLACE", str(tmp_path / "none"))
    monkeypatch.setattr(doctor, "READERS", {})
    assert cli.main(["doctor", "--scratch", "$PLACE"]) == 2
    assert f"doctor: scratch: {tmp_path}/none: No such file or directory" in capsys.readouterr().err


def test_an_openvino_that_does_not_work_is_reported(monkeypatch):
    def fail():
        raise ImportError("no openvino for you")

    monkeypatch.setattr(doctor, "trial", fail)
    finding = doctor.processor()
    assert finding == Finding("processor", "OpenVINO: ImportError: no openvino for you", bad=True)


def test_a_slurm_job_is_reported_with_what_it_was_given():
    job = {"SLURM_JOB_ID": "21", "SLURMD_NODENAME": "gpu01", "SLURM_JOB_PARTITION": "gpu"}
    assert doctor.slurm_job(job) == Finding("job", "SLURM 21 on gpu01, partition gpu")
    assert doctor.slurm_job({}) == Finding("job", "not in a SLURM job")
    usable, there = len(os.sched_getaffinity(0)), os.cpu_count()
    few = doctor.cores({"SLURM_CPUS_PER_TASK": str(usable + 1)})
    text = f"{usable} usable of {there}, {usable + 1} given by SLURM"
    assert few == Finding("cores", text, bad=True)
    assert not doctor.cores({"SLURM_CPUS_PER_TASK": str(usable)}).bad


def test_the_tightest_limit_of_memory_counts(tmp_path):
    (tmp_path / "memory.max").write_text("4000000000\n")
    finding = doctor.memory({"SLURM_MEM_PER_NODE": "3000"}, tmp_path)
    assert "; limited to 4.0 GB; 3.1 GB given by SLURM" in finding.text
    (tmp_path / "memory.max").write_text("max\n")
    assert "limited" not in doctor.memory({}, tmp_path).text


def crash(name: str) -> str:
    os.abort()


def fail(name: str) -> str:
    raise ImportError(f"no {name}\nfor you")


@pytest.mark.parametrize(
    ("work", "text"), [(crash, "crashes the process"), (fail, "ImportError: no cucim for you")]
)
def test_a_reader_that_does_not_work_is_reported(work, text):
    finding = doctor.reader("cucim", work)
    assert finding.bad
    assert finding.text.endswith(f", {text}")
    with pytest.raises(HolohistoError, match=f"^doctor: reader cucim: .*{text}"):
        doctor.require_healthy([finding])


def test_a_gpu_that_must_be_there(capsys, monkeypatch, tmp_path):
    import torch

    monkeypatch.setattr(doctor, "READERS", {})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert cli.main(["doctor", "--gpu", "--scratch", str(tmp_path)]) == 2
    assert "doctor: gpu: none for torch" in capsys.readouterr().err
