"""Running the GPU benchmark: time, isolation of parts, records."""

import json
import sys
import time
from pathlib import Path

import pytest
from programs import program

import holohisto

sys.path.insert(0, str(Path(holohisto.__file__).parents[1]))  # benchmarks are no part of the wheel
from benchmarks.gpu import isolation, record
from benchmarks.gpu.budget import Budget
from benchmarks.gpu.sizes import DRY, FULL
from benchmarks.gpu.task import Task


def test_a_part_may_take_its_own_time_and_what_was_left_over():
    now = [100.0]
    budget = Budget(60, {"a": 10, "b": 20, "c": 25}, clock=lambda: now[0])
    assert [budget.allowed(part) for part in "abc"] == [15, 35, 60]
    now[0] = 112.0
    assert [budget.allowed(part) for part in "abc"] == [3, 23, 48]
    now[0] = 140.0
    assert [budget.allowed(part) for part in "abc"] == [0, 0, 20]


def test_all_parts_fit_in_eight_minutes_with_time_to_start():
    for sizes in (FULL, DRY):
        assert list(sizes.seconds) == ["tests", "encoder", "training", "slide", "attention"]
        assert sum(sizes.seconds.values()) <= 455


def alive(pid):
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_a_part_that_ends_well_is_done(tmp_path):
    result, log = tmp_path / "r.json", tmp_path / "log"
    text = f"open({str(result)!r}, 'w').write('{{\"figure\": 3}}'); print('some words')"
    outcome = isolation.run(program(text), 60, result, log)
    assert outcome == {"status": "done", "seconds": outcome["seconds"], "result": {"figure": 3}}
    assert log.read_text() == "some words\n"


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("raise ValueError('too small')", "exit 1: ValueError: too small"),
        ("import os; os.kill(os.getpid(), 9)", "exit -9: begun"),
    ],
)
def test_a_part_that_fails_keeps_its_figures_and_names_the_reason(tmp_path, end, reason):
    result = tmp_path / "r.json"
    text = f"print('begun', flush=True); open({str(result)!r}, 'w').write('{{\"a\": 1}}'); {end}"
    outcome = isolation.run(program(text), 60, result, tmp_path / "log")
    assert (outcome["status"], outcome["reason"]) == ("failed", reason)
    assert outcome["result"] == {"a": 1}


def test_the_error_that_a_part_writes_is_its_reason(tmp_path):
    result = tmp_path / "r.json"
    data = json.dumps({"a": 1, "error": "KeyError: x"})
    text = f"open({str(result)!r}, 'w').write({data!r}); raise SystemExit(1)"
    outcome = isolation.run(program(text), 60, result, tmp_path / "log")
    assert (outcome["reason"], outcome["result"]) == ("KeyError: x", {"a": 1})


def test_a_part_whose_time_is_over_is_ended_with_what_it_started(tmp_path, monkeypatch):
    monkeypatch.setattr(isolation, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(isolation, "GRACE_SECONDS", 0.2)
    result, child, seen = tmp_path / "r.json", tmp_path / "child", []
    text = (
        "import subprocess, sys, time\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(child)!r}, 'w').write(str(p.pid))\n"
        f"open({str(result)!r}, 'w').write('{{\"a\": 1}}')\n"
        "time.sleep(60)"
    )
    outcome = isolation.run(program(text), 2, result, tmp_path / "log", seen.append)
    assert (outcome["status"], outcome["reason"]) == ("out of time", "ended after 2 s")
    assert outcome["result"] == {"a": 1}
    assert (seen[-1]["status"], seen[-1]["result"]) == ("running", {"a": 1})
    until = time.monotonic() + 20
    while alive(int(child.read_text())):
        assert time.monotonic() < until, "the child outlives the part"
        time.sleep(0.05)


def test_a_part_without_time_is_not_started(tmp_path):
    outcome = isolation.run(["/no/such/program"], 1, tmp_path / "r.json", tmp_path / "log")
    assert (outcome["status"], outcome["reason"]) == ("skipped", "no time was left")


def test_an_exception_within_a_part_is_written_to_its_result(tmp_path):
    command = [sys.executable, "-m", "benchmarks.gpu.parts", "slide", "--work", "/no/such/folder"]
    command += ["--result", str(tmp_path / "r.json"), "--seconds", "60", "--dry"]
    text = f"import runpy, sys; sys.path.insert(0, {sys.path[0]!r}); sys.argv = {command[2:]!r}"
    text += "; runpy.run_module('benchmarks.gpu.parts', run_name='__main__')"
    outcome = isolation.run(program(text), 100, tmp_path / "r.json", tmp_path / "log")
    assert outcome["status"] == "failed"
    assert outcome["reason"].startswith("FileNotFoundError: ")


def test_a_record_is_whole_after_every_part(tmp_path):
    kept = record.Record(tmp_path / "out", {"dry_run": True, "device": "cpu"})
    first = {"dry_run": True, "device": "cpu", "parts": {}}
    assert record.read(tmp_path / "out" / "gpu.json") == first
    done = {"status": "done", "seconds": 2.0, "result": {}}
    kept.put("tests", done)
    assert record.read(tmp_path / "out" / "gpu.json") == first | {"parts": {"tests": done}}
    assert "| tests | done | 2.0 |  |" in (tmp_path / "out" / "gpu.md").read_text()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["gpu.json", "gpu.md"]


def test_a_task_keeps_the_figures_before(tmp_path):
    task = Task(tmp_path, tmp_path / "r.json", DRY, True, 30.0)
    task.put(a=1)
    task.put(b=[2])
    assert record.read(tmp_path / "r.json") == {"a": 1, "b": [2]}
    assert 0 < task.left <= 30
