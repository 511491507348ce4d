"""Folders that other users, or the user's own files, share with the package."""

import fcntl
import os

import numpy as np
import pytest
from labelled_slide import LabelledSlide

from holohisto import cli
from holohisto.commands.segment import MARK as WORK_MARK
from holohisto.commands.segment import _work_folder
from holohisto.errors import HolohistoError
from holohisto.runtime import gpus
from holohisto.sheet.layouts.found import files
from holohisto.slide.scratch import staged


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "s1.tif"
    path.write_bytes(b"x" * 1000)
    return path


def test_a_users_own_folder_of_a_similar_name_stays(image, tmp_path):
    scratch = tmp_path / "scratch"
    own = scratch / "holohisto-slide-notes"
    own.mkdir(parents=True)
    (own / "only copy.txt").touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / ".holohisto-staged").touch()
    (scratch / "holohisto-slide-linked").symlink_to(tmp_path / "elsewhere")
    with staged(image, str(scratch)) as copy:
        assert copy.read_bytes() == image.read_bytes()
    assert (own / "only copy.txt").exists()
    assert (tmp_path / "elsewhere" / ".holohisto-staged").exists()


def test_a_lock_on_the_shared_disk_does_not_stop_a_job(image, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    handle = os.open(scratch, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        with staged(image, str(scratch)) as copy:
            assert copy.parent.parent == scratch
    finally:
        os.close(handle)


def test_segment_does_not_remove_a_folder_that_it_did_not_make(tmp_path):
    own = tmp_path / "s1.work"
    own.mkdir()
    (own / "only copy.txt").touch()
    refused = pytest.raises(HolohistoError, match="was not made by this verb")
    with refused, _work_folder(own, keep=False, image="s"):
        pass
    assert (own / "only copy.txt").exists()
    with _work_folder(tmp_path / "s2.work", keep=True, image="s"):
        pass
    assert (tmp_path / "s2.work" / WORK_MARK).exists()
    with _work_folder(tmp_path / "s2.work", keep=False, image="s"):
        pass
    assert not (tmp_path / "s2.work").exists()


@pytest.mark.parametrize("made", ["link", "open to all"])
def test_a_folder_of_locks_that_another_user_may_have_made_is_refused(tmp_path, monkeypatch, made):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(gpus, "visible", lambda: ["0", "1"])
    for name in (gpus.TAKEN, gpus.VISIBLE, "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / f"holohisto-gpus-{os.getuid()}"
    if made == "link":
        (tmp_path / "other").mkdir()
        folder.symlink_to(tmp_path / "other")
    else:
        folder.mkdir()
        folder.chmod(0o777)
    with pytest.raises(HolohistoError, match="is no folder of yours alone"):
        gpus.take(1)


def test_a_folder_that_links_to_its_parent_is_searched_once(tmp_path):
    inner = tmp_path / "slides" / "a"
    inner.mkdir(parents=True)
    (inner / "s1.svs").touch()
    (inner / "again").symlink_to(tmp_path / "slides")
    (tmp_path / "slides" / "b").symlink_to(inner)
    found = [str(path.relative_to(tmp_path)) for path in files(tmp_path / "slides", [".svs"])]
    assert found == ["slides/a/s1.svs"]


def test_an_image_named_like_an_option_is_an_image(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    slide = LabelledSlide(tmp_path, (130, 70), 1, 0.5)
    slide.write_labels(np.zeros((70, 130), np.uint8), ["a"])
    words = ["segment", "--model", "m.safetensors", "--output", "out", "--", "--sheet=x.tif"]
    assert cli.main(words) == 2
    assert "IMAGE: '--sheet=x.tif' has '-' at its start" in capsys.readouterr().err
