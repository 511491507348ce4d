"""What reaches the submitting host's shell under the SLURM profile: the real plugin, no SLURM."""

import os
import shlex
import subprocess
import sys

import pytest
from tiny_cohort import ROOT, make_folder, row, write_sheet

pytestmark = pytest.mark.workflow
NAME = "O'Neil #1 (a) & b;c.tif"


@pytest.fixture
def submitted(tmp_path):
    """Return a function that runs the workflow; a stub of sbatch keeps each job and refuses it."""
    programs = tmp_path / "bin"
    programs.mkdir()
    stub = """#!/bin/sh
    for word; do printf '%s\\0' "$word"; done >> $JOBS
    printf %s "$PYTHONSAFEPATH" > $SAFE
    exit 1
    """
    for name in ("sbatch", "squeue", "sacct", "scancel", "scontrol", "sinfo", "sacctmgr"):
        (programs / name).write_text(stub if name == "sbatch" else "#!/bin/sh\nexit 0\n")
        (programs / name).chmod(0o755)
    jobs = tmp_path / "jobs"
    variables = {"PATH": f"{programs}:{os.environ['PATH']}", "JOBS": str(jobs)}
    variables["SAFE"] = str(tmp_path / "safe")
    environment = {k: v for k, v in os.environ.items() if k != "TMPDIR"} | variables

    def run(image, *arguments):
        folder = make_folder(tmp_path / "run")
        (folder / "slides").mkdir()
        (folder / "slides" / image).touch()
        (folder / "slides" / "t1.png").touch()
        write_sheet(folder, [row("t1", "train", image=f"slides/{image}")])
        with (folder / "config" / "config.yaml").open("a") as file:  # no job's command line has it
            file.write("report: {title: $(touch PWNED)`touch PWNED`}\n")
        (folder / "slurm").symlink_to("profiles/slurm")
        snakefile = ["--snakefile", str(ROOT / "workflow" / "Snakefile")]
        profile = ["--profile", "slurm", "--retries", "0", "--no-hooks"]
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", *snakefile, "all", *profile, *arguments],
            cwd=folder,
            env=environment,
            text=True,
            capture_output=True,
            check=False,
            timeout=120,
        )
        assert not list(tmp_path.rglob("PWNED*"))
        return done, jobs.read_text().split("\0")[:-1] if jobs.exists() else []

    return run


def test_a_slide_named_after_a_command_is_refused_before_anything_is_submitted(submitted):
    done, jobs = submitted("a$(touch PWNED).tif")
    assert done.returncode != 0
    assert "config/slides.tsv: line 2, column image: 'slides/a$(touch PWNED).tif'" in done.stderr
    assert jobs == []


def test_a_value_of_the_configuration_is_refused_before_anything_is_submitted(submitted):
    done, jobs = submitted("t1.tif", "--config", "scratch=$(touch PWNED)$TMPDIR")
    assert done.returncode != 0
    assert "--config: scratch: would be read by a shell" in done.stderr
    assert jobs == []


def test_odd_names_and_the_scratch_of_a_node_reach_the_job_as_they_are(submitted, tmp_path):
    _, words = submitted(NAME, "--config", "scratch=env:TMPDIR")
    wrapped = [word.removeprefix("--wrap=") for word in words if word.startswith("--wrap=")]
    job = next(job for job in map(shlex.split, wrapped) if f"slides/{NAME}" in job)
    assert job.index(f"slides/{NAME}") > job.index("--wait-for-files")
    assert (tmp_path / "safe").read_text() == "1"  # nothing is imported from the run's folder
    config = job[job.index("--config") + 1]  # with quotes or without, by the plugin's version
    assert config.replace("'", "") == "scratch=env:TMPDIR"
