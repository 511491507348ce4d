"""The verb infer: killed and resumed, and the same for any number of threads."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from infer_verb import OPTIONS, SIZE, command, prepared

from holohisto import cli
from holohisto.pyramid.raster import Raster


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A slide with everything that infer reads; the segmenter is untrained, but not indifferent."""
    return prepared(tmp_path_factory.mktemp("infer"))


@pytest.fixture(scope="module")
def whole(folder):
    """What an undisturbed run gives."""
    out = folder / "whole"
    assert cli.main(command(folder, out, "--threads", "1")) == 0
    return out


def same(first: Path, second: Path) -> bool:
    return all(
        (first / name).read_bytes() == (second / name).read_bytes()
        for name in ("labels.tif", "probability.tif")
    )


def test_labels_and_facts_are_written(whole):
    with Raster(whole / "labels.tif") as labels:
        values = np.concatenate(list(labels.rows()))
        header = labels.header
    assert values.shape == SIZE[::-1]
    assert len(np.unique(values)) > 2
    assert (header["tile"], header["overlap"], header["snap"]) == ([192, 160], 0.25, 16)
    facts = json.loads((whole / "facts.json").read_text())
    assert (facts["bands"], facts["resumed_bands"], facts["slide"]) == (8, 0, "s1")
    assert 0 < facts["tiles"] <= facts["all_tiles"] == 8 * 4
    assert set(facts["stages"]) == {"read", "tokenise", "model", "stitch", "write"}
    assert facts["stages"]["tokenise"] == 0
    assert min(facts["stages"][name] for name in ("read", "model", "stitch", "write")) > 0
    assert facts["bottleneck"] in facts["stages"]
    for seam in facts["seam"].values():
        assert seam["disagreement"] == pytest.approx(seam["differing"] / seam["either"], abs=1e-6)
        assert 0 < seam["disagreement"] < 1  # an untrained network sees what is around
    assert not (whole / "labels.journal").exists()


KILLED = """
import os, signal, sys
from holohisto import cli
from holohisto.runtime import journal
add, left = journal.Journal.add, [int(sys.argv[1])]
def dying(self, number, payload):
    add(self, number, payload)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
journal.Journal.add = dying
cli.main(sys.argv[2:])
"""


@pytest.mark.parametrize(("bands", "torn"), [(1, 0), (4, 11)])
def test_killed_and_resumed_gives_identical_labels(folder, whole, tmp_path, bands, torn):
    words = command(folder, tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(bands), *words], env=os.environ, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "labels.tif").exists()
    journal = tmp_path / "labels.journal"
    if torn:  # the last record was cut short
        journal.write_bytes(journal.read_bytes()[:-torn])
    assert cli.main([*words, "--threads", "3", "--batch", "2"]) == 0
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert facts["resumed_bands"] == bands - bool(torn)
    assert same(tmp_path, whole)
    seams = [json.loads((out / "facts.json").read_text())["seam"] for out in (tmp_path, whole)]
    assert seams[0] == seams[1]
    assert not journal.exists()


def test_another_computation_resumes_nothing(folder, whole, tmp_path):
    words = command(folder, tmp_path)
    subprocess.run([sys.executable, "-c", KILLED, "3", *words], env=os.environ, check=False)
    other = json.dumps(OPTIONS | {"threshold": 0.4})
    words[words.index("--options") + 1] = other
    assert cli.main(words) == 0
    assert json.loads((tmp_path / "facts.json").read_text())["resumed_bands"] == 0
    assert not same(tmp_path, whole)


@pytest.mark.parametrize("threads", ["2", "9"])
def test_any_number_of_threads_gives_the_same_bytes(folder, whole, tmp_path, threads):
    """Also where the environment, or the machine, has another number of cores."""
    words = command(folder, tmp_path, "--threads", threads, "--queue", "1", "--batch", "3")
    own = os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "holohisto.cli", *words], env=own, check=True)
    assert same(tmp_path, whole)
