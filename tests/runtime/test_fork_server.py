"""The fork server: verbs of small slides run as in their own process, and end with their job."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from holohisto.planning.local_jobs import ONE_THREAD
from holohisto.runtime.fork_client import VARIABLE

START = 120.0
"""Seconds in which the server has imported everything, on a busy machine."""
SLOW = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
import holohisto.commands.check as check
def slow(arguments):
    Path("started").touch()
    if Path("crash").exists():
        import ctypes
        ctypes.string_at(0)
    time.sleep(60)
check.run = slow
from holohisto import fork_server
fork_server.VERBS, fork_server.LIBRARIES = frozenset({"check"}), ()
sys.modules["torch"] = SimpleNamespace(set_num_threads=int)
sys.exit(fork_server.main(Path(sys.argv[1])))
"""
"""A server whose check takes a minute, or crashes; it imports nothing else, for less time."""


def serve(folder: Path, *python: str) -> subprocess.Popen:
    """Start a server and wait until it accepts jobs."""
    path = folder / "socket"
    server = subprocess.Popen(
        [sys.executable, *python, str(path)],
        stdin=subprocess.PIPE,
        env=os.environ | ONE_THREAD,  # as it is started by a workflow
    )
    end = time.monotonic() + START
    while not path.exists():
        assert server.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    return server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("s")
    process = serve(folder, "-m", "holohisto.fork_server")
    yield folder / "socket", process.pid
    process.stdin.close()
    assert process.wait(30) == 0
    assert not folder.exists()


@pytest.fixture
def slow(tmp_path):
    (tmp_path / "s").mkdir()
    process = serve(tmp_path / "s", "-c", SLOW)
    yield tmp_path / "s" / "socket", process
    process.kill()


@pytest.fixture
def image(tmp_path):
    pixels = np.random.default_rng(0).integers(120, 220, (531, 701, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def job(folder: Path, socket: object, *more: str, image: str = "a.png", **environment: str):
    """Start the verb check as a job of the workflow does."""
    words = ["--log", "c.log", "check", image, "--slide", "a", "--slide-mpp", "0.5"]
    words += ["--output", "c.json", *more]
    return subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "holohisto.cli", *words],
        cwd=folder,
        env={**os.environ, VARIABLE: str(socket), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen) -> tuple[int, str, bool]:
    """Exit code, log lines of stderr, and whether the job imported numpy itself."""
    errors = process.communicate(timeout=120)[1].splitlines()
    imports = [line for line in errors if line.startswith("import time:")]
    lines = [line for line in errors if line not in imports]
    return process.returncode, "\n".join(lines), any(line.endswith(" numpy") for line in imports)


def forks(server: int) -> list[int]:
    """The processes that a server has forked."""
    path = Path(f"/proc/{server}/task/{server}/children")
    return [int(number) for number in path.read_text().split()]


def wait_until(condition) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_small_slide_is_checked_in_a_fork_with_the_same_result(server, image):
    code, lines, imported = ended(job(image.parent, server[0]))
    assert (code, imported) == (0, False)
    assert "INFO check: done in" in lines
    assert "INFO check: done in" in (image.parent / "c.log").read_text()
    found = (image.parent / "c.json").read_bytes()
    assert json.loads(found)["size"] == [701, 531]
    assert ended(job(image.parent, ""))[::2] == (0, True)  # no server is wanted
    assert (image.parent / "c.json").read_bytes() == found


REQUESTS = [3, {}, {"argv": [], "verb": "check"}, {"argv": ["mask"], "verb": "mask", "folder": "/"}]
TEXTS = [json.dumps(request).encode() for request in REQUESTS]
LENGTHS = [2**62, -5, 0]
SENSELESS = [b"", b"x", *(length.to_bytes(8, "little", signed=True) for length in LENGTHS)]
SENSELESS += [len(text).to_bytes(8, "little") + text for text in TEXTS]


def test_requests_that_make_no_sense_leave_the_server_as_it_was(server, image):
    files = Path(f"/proc/{server[1]}/fd")
    before = len(list(files.iterdir()))
    for text in SENSELESS:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(server[0]))
            if text:
                socket.send_fds(client, [text], [0, 1, 2])
            client.shutdown(socket.SHUT_WR)
            assert client.recv(8) == bytes(8)
    wait_until(lambda: len(list(files.iterdir())) == before)
    assert ended(job(image.parent, server[0]))[::2] == (0, False)


def test_mistakes_end_with_their_exit_code_and_line(server, image):
    code, lines, imported = ended(job(image.parent, server[0], "--classes", '{"a": {"x": 1}}'))
    assert (code, imported) == (2, False)
    assert "a.x: unknown key" in lines
    code, lines, imported = ended(job(image.parent, server[0], "--slide-mpp", "0.0001"))
    assert (code, imported) == (2, False)
    assert "ERROR --slide-mpp: is no resolution" in lines


def test_a_job_does_its_work_itself_without_a_server_and_where_the_slide_is_large(server, image):
    assert ended(job(image.parent, image.parent / "none"))[::2] == (0, True)
    with (image.parent / "large.png").open("wb") as file:
        file.write(image.read_bytes())
        file.truncate(32_000_001)
    assert ended(job(image.parent, server[0], image="large.png"))[::2] == (0, True)
    assert ended(job(image.parent, server[0], image="missing.png"))[::2] == (2, True)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 1)])
def test_signals_reach_the_fork(slow, image, number, code):
    process = job(image.parent, slow[0])
    wait_until((image.parent / "started").exists)
    process.send_signal(number)
    assert ended(process)[0] == code
    wait_until(lambda: not forks(slow[1].pid))


def test_a_fork_ends_with_its_job(slow, image):
    process = job(image.parent, slow[0])
    wait_until((image.parent / "started").exists)
    assert len(forks(slow[1].pid)) == 1
    process.kill()
    process.communicate()
    wait_until(lambda: not forks(slow[1].pid))


def test_a_crash_ends_one_job_only(slow, image):
    (image.parent / "crash").touch()
    assert ended(job(image.parent, slow[0]))[0] == 128 + signal.SIGSEGV
    assert slow[1].poll() is None


def test_when_the_server_is_killed_its_jobs_do_their_work_themselves(slow, image):
    process = job(image.parent, slow[0])
    wait_until((image.parent / "started").exists)
    slow[1].kill()
    assert ended(process)[::2] == (0, True)
    assert json.loads((image.parent / "c.json").read_text())["size"] == [701, 531]


def test_a_server_waits_for_its_forks_when_the_workflow_has_ended(slow, image):
    process = job(image.parent, slow[0])
    wait_until((image.parent / "started").exists)
    slow[1].stdin.close()
    time.sleep(0.3)
    assert slow[1].poll() is None
    process.kill()
    process.communicate()
    assert slow[1].wait(60) == 0
