"""Disks that are full or read-only, and processes that are killed: nothing half-written is left."""

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import killed_verbs
import numpy as np
import pytest
import small_disk
import torch
from mounts import NAMESPACE, can_mount
from programs import program

from holohisto.config.models import ColourThresholdModel
from holohisto.config.training import TokensOptions
from holohisto.errors import HolohistoError
from holohisto.pyramid.write import write_rows, write_slide_pyramid
from holohisto.runtime import atomic
from holohisto.runtime.journal import Journal
from holohisto.runtime.pictures import write_jpeg
from holohisto.segmenter.file import ModelCard, save_segmenter
from holohisto.slide.scale import Scale
from holohisto.tokens.token_map import TokenMap, save_token_map
from holohisto.training.checkpoint import Checkpoint, save_checkpoint
from holohisto.training.progress import Progress

LEVELS = int(os.environ.get("HOLOHISTO_DISK_LEVELS", "2"))
"""Sizes of the disk for each verb, from almost nothing to almost enough."""
KILLS = int(os.environ.get("HOLOHISTO_KILLS", "2"))
"""Kills of each verb."""
OF_A_SLIDE = ["check", "foreground", "mask", "adopt", "metrics", "tokens", "infer"]
VERBS = {
    "slide": [*OF_A_SLIDE, "segment", "cohort", "gallery"],
    "cohort": ["tokenizer", "train", "token_value", "report", "demo", "init"],
}


@pytest.mark.skipif(not can_mount, reason="may not mount a file system")
@pytest.mark.parametrize("group", VERBS)
def test_a_verb_on_a_small_or_read_only_disk_ends_in_one_line_and_leaves_nothing_half(
    tmp_path, group
):
    words = [sys.executable, small_disk.__file__, str(tmp_path), str(LEVELS), group]
    done = subprocess.run([*NAMESPACE, *words], text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    outcomes = json.loads(done.stdout)
    assert len(outcomes) == len(VERBS[group]) * (LEVELS + 1)
    for found in outcomes:
        assert found["clean"], found
        assert found["longest"] <= 320, found
        assert (found["code"], found["errors"]) in ((0, 0), (2, 1)), found
        assert found["files"].items() <= found["whole"].items(), found
        assert found["code"] == 2 or found["files"] == found["whole"], found
    codes = Counter((found["verb"], found["code"]) for found in outcomes)
    assert sorted({verb for verb, code in codes if code == 2}) == sorted(VERBS[group])


@pytest.mark.parametrize("group", VERBS)
def test_a_verb_that_is_killed_leaves_nothing_half_and_the_next_run_is_whole(tmp_path, group):
    """Verbs are killed at random times, then run again, with the leftovers grown old."""
    words = [sys.executable, killed_verbs.__file__, str(tmp_path), str(KILLS), group]
    done = subprocess.run(words, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    outcomes = json.loads(done.stdout.splitlines()[-1])
    assert sorted(found["verb"] for found in outcomes) == sorted(KILLS * VERBS[group])
    for found in outcomes:
        assert found["left"].items() <= found["whole"].items(), found
        assert found["again"] == found["whole"], found
        assert found["litter"] == [], found
        assert not found["hung"], found


@contextlib.contextmanager
def files_of_at_most(size):
    """Cut writes short at `size` bytes of a file, as a disk does that gets full within them."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def noise(*shape):
    return np.random.default_rng(3).integers(0, 256, shape, np.uint8)


def write_folder(path):
    with atomic.replacing_folder(path) as folder:
        (folder / "a").write_bytes(bytes(100_000))


def write_journal(path):
    with Journal(path, "a") as journal:
        list(journal.entries())
        journal.add(0, bytes(100_000))


def write_token_map(path):
    tokens = [np.zeros((300, 400), np.uint16)]
    facts = ((0,), "fp32", TokensOptions(), Scale.whole(1))
    save_token_map(TokenMap(tokens, "s", "f", "0" * 64, 16, *facts), path)


def write_segmenter(path):
    options = ColourThresholdModel()
    card = ModelCard("m", options, ("a",), 0.5, (70, 50), None, 1, "frozen", None, {})
    save_segmenter({"w": torch.zeros(30_000)}, card, path)


def write_checkpoint(path):
    weights = {"w": torch.zeros(30_000)}
    checkpoint = Checkpoint(Progress(), weights, weights, {})
    save_checkpoint(path, "identity", checkpoint)


WRITERS = {
    "text": lambda path: atomic.write_text(path, "x" * 100_000),
    "jpeg": lambda path: write_jpeg(path, noise(300, 400, 3), quality=95),
    "labels": lambda path: write_rows(path, [noise(300, 400)], (400, 300), 0.5, {}),
    "slide": lambda path: write_slide_pyramid(path, noise(300, 400, 3), 0.5),
    "folder": write_folder,
    "journal": write_journal,
    "token map": write_token_map,
    "segmenter": write_segmenter,
    "checkpoint": write_checkpoint,
}


@pytest.mark.parametrize("size", [0, 5_000, 50_000])
@pytest.mark.parametrize("name", WRITERS)
def test_a_write_that_is_cut_short_is_an_error_and_leaves_nothing(tmp_path, name, size):
    path = tmp_path / "out.tif"
    with files_of_at_most(size), pytest.raises(HolohistoError, match="cannot be written"):
        WRITERS[name](path)
    left = [file.name for file in tmp_path.iterdir()]
    assert left == (["out.tif"] if name == "journal" else [])
    WRITERS[name](path)
    assert path.exists()


def test_an_older_file_survives_a_full_disk(tmp_path):
    path = tmp_path / "out.jpg"
    write_jpeg(path, noise(30, 40, 3))
    before = path.read_bytes()
    with files_of_at_most(5_000), pytest.raises(HolohistoError):
        WRITERS["jpeg"](path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["out.jpg"]


KILLED = """
import sys, time
from pathlib import Path
from holohisto.runtime import atomic
path = Path(sys.argv[1])
with getattr(atomic, sys.argv[2])(path) as temporary:
    if sys.argv[3:]:  # as masks are: all of a slide replace the former ones together
        inner = atomic.replacing(temporary)
        temporary = inner.__enter__()
    inside = temporary / "a" if temporary.is_dir() else temporary
    inside.write_bytes(bytes(1000))
    print("written", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("how", ["replacing", "replacing_folder", "replacing twice"])
def test_what_a_killed_writer_left_is_removed_by_the_next_one(tmp_path, how):
    path = tmp_path / "out.tif"
    how, *twice = how.split()
    words = [*program(KILLED), str(path), how, *twice]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "written\n"
        left = list(tmp_path.iterdir())
        assert len(left) == 1 + len(twice)
        for file in left:
            grown_old(file)
        atomic.remove_abandoned(path)
        assert all(file.exists() for file in left)  # its writer still runs
        writer.send_signal(signal.SIGKILL)
    assert all(file.exists() for file in left)
    grown_old(tmp_path / "other.tif", make=True)
    (tmp_path / ".out.tif.notes").write_text("a user's own")
    grown_old(tmp_path / "..out.tif.abcdefgh.tif", make=True)
    (tmp_path / ".out.tif.abcdefgh.tif").write_text("young")
    with getattr(atomic, how)(path):
        pass
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(
        [
            *("out.tif", "other.tif", ".out.tif.notes", ".out.tif.abcdefgh.tif"),
            "..out.tif.abcdefgh.tif",
        ]
    )


def grown_old(path: Path, make: bool = False) -> None:
    if make:
        path.touch()
    old = time.time() - 2 * atomic.ABANDONED_SECONDS
    os.utime(path, (old, old))


def test_a_disk_without_permissions_locks_and_folder_sync_can_be_written(tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chmod", refused)
    monkeypatch.setattr("fcntl.flock", refused)
    sync = os.fsync
    folders = []

    def fsync(handle):
        if os.path.isdir(f"/proc/self/fd/{handle}"):
            folders.append(handle)
            refused()
        sync(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    atomic.write_text(tmp_path / "a.txt", "whole")
    write_folder(tmp_path / "b")
    assert (tmp_path / "a.txt").read_text() == "whole"
    assert (tmp_path / "b" / "a").exists()
    assert folders


def test_new_files_and_folders_have_the_permissions_of_the_user(tmp_path):
    mask = os.umask(0o027)
    try:
        atomic.write_text(tmp_path / "a.txt", "")
        write_folder(tmp_path / "b")
    finally:
        os.umask(mask)
    assert oct((tmp_path / "a.txt").stat().st_mode & 0o777) == "0o640"
    assert oct((tmp_path / "b").stat().st_mode & 0o777) == "0o750"
