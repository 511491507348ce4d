"""Converted networks that are kept: what is damaged, foreign or no file is made again."""

import json
import os
import subprocess

import numpy as np
import pytest
from mounts import can_mount, on_mounted
from programs import program
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from holohisto.runtime.paths import cache_folder
from holohisto.runtime.seal import sealed_header
from holohisto.segmenter.converted import ConvertedSegmenter, load_or_convert
from holohisto.segmenter.sides import Sides

NETWORK = ConvertedSegmenter(b"<net/>", bytes(range(250)) * 4, Sides(16, (64, 48)), True, False)


def kept(folder, made):
    """Return the network of the file in `folder`; note in `made` if it is made."""
    return load_or_convert("m", [folder], "0" * 64, lambda: made.append(1) or NETWORK)


@pytest.fixture
def file(tmp_path):
    made = []
    assert kept(tmp_path, made) == NETWORK
    assert kept(tmp_path, made) == NETWORK
    assert made == [1]
    return tmp_path / "m"


def test_bytes_changed_or_cut_off_anywhere_are_noticed(file):
    whole, draw = file.read_bytes(), np.random.default_rng(4)
    for number, place in enumerate(draw.integers(0, len(whole), 60)):
        changed = bytearray(whole)
        changed[place] ^= 1 << draw.integers(8)
        file.write_bytes(changed[:place] if number % 3 == 0 else changed)
        made = []
        assert kept(file.parent, made) == NETWORK
        assert made == [1]
        assert kept(file.parent, made) == NETWORK
        assert made == [1]


@pytest.mark.parametrize("facts", [{}, [], {"sides": 3}, {"sides": {"fixed": None, "x": 1}}])
def test_facts_that_make_no_sense_are_not_used_with_a_fitting_digest_either(file, facts):
    with safe_open(file, "numpy") as opened:
        header = {key: text for key, text in opened.metadata().items() if key != "seal"}
    header["facts"] = json.dumps(facts)
    save_file(load_file(file), file, sealed_header(header))
    made = []
    assert kept(file.parent, made) == NETWORK
    assert made == [1]


def test_a_pipe_is_not_waited_for_and_replaced(file):
    file.unlink()
    os.mkfifo(file)
    made = []
    assert kept(file.parent, made) == NETWORK
    assert file.is_file()


@pytest.mark.skipif(os.getuid() != 0, reason="files of other users are made by root")
def test_a_file_of_another_user_is_not_used(file):
    os.chown(file, 12345, 12345)
    made = []
    assert kept(file.parent, made) == NETWORK
    assert made == [1]
    os.chown(file, 12345, 12345)
    os.chown(file.parent, 12345, 12345)  # the folder is theirs, with all that is in it
    assert kept(file.parent, made) == NETWORK
    assert made == [1]


def test_without_a_home_nothing_is_kept_in_a_folder_of_all_users(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # a user id without an entry
    assert cache_folder() is None
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() is None
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert str(cache_folder()) == "/caches/holohisto"


CONVERSION = """
import sys
import numpy as np, openvino, openvino.opset13 as operations
from holohisto.errors import HolohistoError
from holohisto.runtime.processor import intermediate_representation
rows = operations.parameter([1, 512], np.float32)
network = openvino.Model([operations.matmul(rows, np.ones((512, 512), np.float32), 0, 0)], [rows])
try:
    intermediate_representation(network)
except HolohistoError as error:
    print(error)
"""


@pytest.mark.skipif(not can_mount, reason="may not mount a file system")
@pytest.mark.parametrize("options", ["size=4096", "size=65536", "size=1048576"])
def test_a_conversion_on_a_full_temporary_disk_is_one_clear_line(tmp_path, options):
    words = on_mounted(tmp_path, options, program(CONVERSION))
    variables = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(words, env=variables, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"{tmp_path}: cannot be written: ")
    assert line.endswith("set TMPDIR to a folder on another disk")


def test_with_room_a_conversion_succeeds(tmp_path):
    done = subprocess.run(program(CONVERSION), text=True, capture_output=True, check=True)
    assert done.stdout == ""
