"""One whole run of the workflow, which the tests of this folder share."""

import fcntl
import os
import shutil
from pathlib import Path

import pytest
from tiny_cohort import SPLITS, make_folder, snakemake, write_slide


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The folder of a whole run; copy it before changing it or running Snakemake in it.

    Processes that test at once share it: the first one makes it while the others wait.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "workflow-run"
    with (shared / "workflow-run.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            making = make_folder(shared / "workflow-run-unfinished" / "run")
            for seed, slide in enumerate(SPLITS):
                write_slide(making, slide, seed)
            snakemake(making, "--cores", "2")
            making.rename(folder)
    return folder


@pytest.fixture
def copy(finished, tmp_path):
    """The finished run again, times of files and Snakemake's records included."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))
