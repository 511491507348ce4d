"""When a fork server is started for the jobs of this machine."""

import contextlib
import errno
import os
import socket
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from holohisto.planning import local_jobs
from holohisto.runtime.fork_client import SMALL_BYTES, VARIABLE
from holohisto.sheet.cells import Row


@pytest.fixture
def started(monkeypatch):
    """Command lines of the servers, which are not really started."""
    commands = []
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(subprocess, "Popen", lambda words, **_: commands.append(words))
    yield commands
    os.environ.pop(VARIABLE, None)  # set by the function itself


def rows(folder: Path, *sizes: int) -> dict[str, Row]:
    """A slide for each size of its file, bytes."""
    for number, size in enumerate(sizes):
        with (folder / f"{number}.png").open("wb") as file:
            file.truncate(size)
    return {str(n): Row(str(n), folder / f"{n}.png", "test") for n in range(len(sizes))}


def jobs(count: int, slide: str = "0", rule: str = "mask") -> list[SimpleNamespace]:
    wildcards = SimpleNamespace(slide=slide)
    return [SimpleNamespace(rule=SimpleNamespace(name=rule), wildcards=wildcards)] * count


def test_a_server_is_started_for_many_jobs_of_small_slides(started, tmp_path):
    sheet = rows(tmp_path, 1000, SMALL_BYTES)
    assert local_jobs.start_server(jobs(6) + jobs(6, "1", "check"), sheet)
    assert [words[1:3] for words in started] == [["-m", "holohisto.fork_server"]]
    socket = Path(os.environ[VARIABLE])
    assert str(socket) == started[0][-1]
    assert socket.parent.stat().st_mode & 0o777 == 0o700
    socket.parent.rmdir()


def test_no_server_for_few_jobs_large_slides_other_verbs_or_where_none_is_wanted(
    started, tmp_path, monkeypatch
):
    sheet = rows(tmp_path, 1000, SMALL_BYTES + 1)
    sheet["missing"] = Row("missing", tmp_path / "none.png", "test")
    assert not local_jobs.start_server(jobs(11), sheet)
    assert not local_jobs.start_server(jobs(11) + jobs(30, "1") + jobs(30, "missing"), sheet)
    others = [SimpleNamespace(rule=SimpleNamespace(name="train"), wildcards=SimpleNamespace())]
    assert not local_jobs.start_server(jobs(11) + others * 30, sheet)
    assert VARIABLE not in os.environ
    monkeypatch.setenv(VARIABLE, "")
    assert not local_jobs.start_server(jobs(99), sheet)
    assert not started


def test_no_server_where_the_path_of_its_socket_would_be_too_long(started, tmp_path, monkeypatch):
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    assert not local_jobs.start_server(jobs(99), rows(tmp_path, 1000))
    assert not started
    assert not list(long.iterdir())


@pytest.mark.parametrize("failing", ["tempfile.mkdtemp", "subprocess.Popen"])
def test_jobs_run_as_without_a_server_where_the_disk_or_the_process_table_is_full(
    started, tmp_path, monkeypatch, failing
):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(failing, full)
    assert not local_jobs.start_server(jobs(99), rows(tmp_path, 1000))
    assert VARIABLE not in os.environ
    assert [path.name for path in tmp_path.iterdir()] == ["0.png"]


def test_the_folder_of_a_killed_server_is_removed_and_no_other(
    started, tmp_path_factory, monkeypatch
):
    tmp_path = tmp_path_factory.mktemp("s")  # paths of sockets are short
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    old = time.time() - 100
    with contextlib.ExitStack() as open_sockets:
        for name in ("killed", "young", "listens"):
            folder = tmp_path / f"holohisto-jobs-{name}"
            folder.mkdir()
            server = open_sockets.enter_context(socket.socket(socket.AF_UNIX))
            server.bind(str(folder / "socket"))
            if name == "listens":
                server.listen()
            else:
                server.close()
            if name != "young":
                os.utime(folder / "socket", (old, old))
        own = tmp_path / "holohisto-jobs-notes"
        own.mkdir()
        (own / "socket").touch()  # a user's own file
        os.utime(own / "socket", (old, old))
        assert local_jobs.start_server(jobs(99), rows(tmp_path, 1000))
    new = Path(os.environ[VARIABLE]).parent.name
    expected = {f"holohisto-jobs-{name}" for name in ("young", "listens", "notes")} | {new}
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == expected
