"""Open files are closed in the order of their last use, never while they are in use."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from holohisto.runtime.open_files import OpenFiles


class File:
    """A file of some bytes that notes how it was used."""

    def __init__(self, name, nbytes, log):
        self.name, self.kept_bytes, self.log, self.closed = name, nbytes, log, False
        log.append(f"open {name}")

    def close(self):
        assert not self.closed
        self.closed = True
        self.log.append(f"close {self.name}")


def used(files, log, *names, nbytes=10):
    for name in names:
        with files.use(name, lambda name=name: File(name, nbytes, log)) as file:
            assert file.name == name
            assert not file.closed


def test_those_used_longest_ago_are_closed():
    log, files = [], OpenFiles(25)
    used(files, log, "a", "b", "a", "c", "a", "b")
    assert log == ["open a", "open b", "open c", "close b", "open b", "close c"]
    assert files.kept_bytes == 20


@pytest.mark.parametrize("most", [0, 9])
def test_a_file_beyond_the_bound_is_closed_after_each_use(most):
    log, files = [], OpenFiles(most)
    used(files, log, "a", "a")
    assert log == ["open a", "close a"] * 2
    assert files.kept_bytes == 0


def test_a_file_in_use_stays_open_and_its_growth_counts():
    log, files = [], OpenFiles(25)
    with files.use("a", lambda: File("a", 1, log)) as kept:
        used(files, log, "b", "c", "d")
        assert not kept.closed
        kept.kept_bytes = 25
    assert log[-2:] == ["close c", "close d"]
    assert not kept.closed
    assert files.kept_bytes == 25


def test_an_error_of_opening_is_passed_on_and_the_next_use_opens_again():
    log, files = [], OpenFiles(100)

    def broken():
        raise OSError("no such file")

    with pytest.raises(OSError, match="no such file"), files.use("a", broken):
        pass
    used(files, log, "a")
    assert log == ["open a"]


def test_many_threads_share_open_files():
    log, files, lock = [], OpenFiles(30), threading.Lock()

    def read(n):
        with files.use(n % 7, lambda: File(n % 7, 10, log)) as file:
            with lock:
                assert not file.closed
            return file.name

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, range(700))) == [n % 7 for n in range(700)]
    assert files.kept_bytes <= 30
    opened = sum(line.startswith("open") for line in log)
    assert opened - sum(line.startswith("close") for line in log) == files.kept_bytes / 10
