"""Slides on node-local disk while a job reads them."""

import shutil
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
from slide_files import noise, write_levels

from holohisto.errors import HolohistoError
from holohisto.slide import Slide
from holohisto.slide.scratch import staged


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "slides" / "s1.tif"
    path.parent.mkdir()
    write_levels(path, [noise()])
    return path


@pytest.fixture
def scratch(tmp_path):
    folder = tmp_path / "local"
    folder.mkdir()
    return folder


def test_the_copy_is_the_same_slide_and_is_gone_afterwards(image, scratch, monkeypatch):
    monkeypatch.setenv("PLACE", str(scratch))
    with staged(image, "$PLACE") as copy:
        assert copy.parent.parent == scratch
        assert copy.name == "s1.tif"
        with Slide(copy) as one, Slide(image) as other:
            assert one.fingerprint == other.fingerprint
    assert not list(scratch.iterdir())
    assert image.is_file()


def test_a_job_that_is_told_to_stop_cleans_up(image, scratch):
    def work():
        with staged(image, str(scratch)) as copy:
            sys.exit(143 if copy.is_file() else 1)

    with pytest.raises(SystemExit, match="143"):
        work()
    assert not list(scratch.iterdir())


def test_what_a_killed_job_left_is_removed_and_what_a_running_one_has_stays(image, scratch):
    script = (
        "import sys; from pathlib import Path; from holohisto.slide.scratch import staged\n"
        "with staged(Path(sys.argv[1]), sys.argv[2]): print(flush=True); sys.stdin.read()"
    )
    (scratch / "holohisto-gpus-0").mkdir()
    job = subprocess.Popen(
        [sys.executable, "-c", script, image, scratch],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert job.stdout is not None
    job.stdout.readline()
    (its,) = scratch.glob("holohisto-slide-*")
    with staged(image, str(scratch)):
        assert (its / "s1.tif").exists()
    job.send_signal(signal.SIGKILL)
    job.wait()
    with staged(image, str(scratch)) as copy:
        assert not its.exists()
        assert copy.exists()
    assert [path.name for path in scratch.iterdir()] == ["holohisto-gpus-0"]


def test_a_folder_that_is_not_yet_locked_and_marked_stays(image, scratch):
    unmarked = scratch / "holohisto-slide-begun"
    unmarked.mkdir()
    with staged(image, str(scratch)):
        assert unmarked.exists()
    assert unmarked.exists()


def test_side_files_come_along(tmp_path, scratch):
    image = tmp_path / "slides" / "s1.mrxs"
    (image.parent / "s1").mkdir(parents=True)
    image.write_bytes(b"a")
    (image.parent / "s1" / "Data0000.dat").write_bytes(b"bc")
    with staged(image, str(scratch)) as copy:
        assert copy.read_bytes() == b"a"
        assert (copy.parent / "s1" / "Data0000.dat").read_bytes() == b"bc"


def test_the_form_for_profiles_takes_the_value_of_the_job(image, scratch, monkeypatch):
    monkeypatch.setenv("PLACE", str(scratch))
    with staged(image, "env:PLACE") as copy:
        assert copy.parent.parent == scratch
    monkeypatch.delenv("PLACE")
    with pytest.raises(HolohistoError, match="no such folder on this node: env:PLACE"):
        staged(image, "env:PLACE").__enter__()


@pytest.mark.parametrize("nothing", [None, ""])
def test_without_scratch_the_slide_is_read_where_it_is(image, nothing):
    with staged(image, nothing) as path:
        assert path == image


def test_too_little_room_leaves_the_slide_where_it_is(image, scratch, monkeypatch, caplog):
    few = image.stat().st_size + 2**30 - 1
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=few))
    with staged(image, str(scratch)) as path:
        assert path == image
    assert "too little" in caplog.text


def test_a_copy_of_another_size_is_refused_and_removed(image, scratch, monkeypatch):
    whole = image.stat().st_size
    monkeypatch.setattr(shutil, "copyfile", lambda a, b: b.write_bytes(a.read_bytes()[:-1]) and b)
    message = rf"{image}: its copy on scratch .* \(found {whole - 1} bytes; allowed {whole} bytes\)"
    with pytest.raises(HolohistoError, match=message), staged(image, str(scratch)):
        pass
    assert not list(scratch.iterdir())


def test_a_scratch_that_this_node_lacks_is_told(image):
    with (
        pytest.raises(HolohistoError, match=r"scratch: no such folder on this node: /none"),
        staged(image, "/none"),
    ):
        pass
