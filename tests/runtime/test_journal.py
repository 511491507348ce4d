import os
import signal
import subprocess
import sys

import pytest

from holohisto.errors import HolohistoError
from holohisto.runtime.journal import Journal


def written(path, identity="a"):
    with Journal(path, identity) as journal:
        list(journal.entries())
        for number in range(5):
            journal.add(number * 3, bytes([number]) * (100 + number))
    return path


def entries(path, identity="a"):
    with Journal(path, identity) as journal:
        return dict(journal.entries())


EXPECTED = {number * 3: bytes([number]) * (100 + number) for number in range(5)}


def test_records_are_found_again_and_more_can_follow(tmp_path):
    path = written(tmp_path / "j")
    assert entries(path) == EXPECTED
    with Journal(path, "a") as journal:
        list(journal.entries())
        journal.add(99, b"more")
    assert entries(path) == EXPECTED | {99: b"more"}


def test_another_computation_finds_nothing(tmp_path):
    path = written(tmp_path / "j")
    assert entries(path, "b") == {}
    assert entries(path, "a") == {}


@pytest.mark.parametrize("cut", [1, 60, 103, 130])
def test_a_record_cut_short_is_dropped_and_writing_goes_on(cut, tmp_path):
    path = written(tmp_path / "j")
    path.write_bytes(path.read_bytes()[:-cut])
    kept = entries(path)
    assert kept == {n: b for n, b in EXPECTED.items() if n in kept}
    assert len(kept) == (4 if cut < 124 else 3)
    with Journal(path, "a") as journal:
        list(journal.entries())
        journal.add(12, b"again")
    assert entries(path) == kept | {12: b"again"}


def test_a_damaged_record_ends_the_journal(tmp_path):
    path = written(tmp_path / "j")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert 0 < len(entries(path)) < 5


def test_what_was_added_outlives_a_kill(tmp_path):
    code = f"""
from pathlib import Path
from holohisto.errors import HolohistoError
from holohisto.runtime.journal import Journal
import os, signal
with Journal(Path({str(tmp_path / "j")!r}), "a") as journal:
    list(journal.entries())
    journal.add(7, b"seven")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL
    assert entries(tmp_path / "j") == {7: b"seven"}


def test_a_pipe_in_its_place_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "j")
    with pytest.raises(HolohistoError, match="is in the way"):
        Journal(tmp_path / "j", "a")
