"""The training part of the GPU benchmark: steps, waiting, micro-batches."""

import sys
import time
from pathlib import Path

import pytest
import torch
from programs import program

import holohisto

sys.path.insert(0, str(Path(holohisto.__file__).parents[1]))  # benchmarks are no part of the wheel
from benchmarks.gpu import machine, watched
from benchmarks.gpu.parts import marked_tests, training_speed
from benchmarks.gpu.sizes import FULL
from benchmarks.gpu.task import Task


def test_results_of_tests_are_counted_from_the_lines_of_pytest():
    lines = [
        "tests/test_gpu.py::test_a PASSED      [ 20%]",
        "tests/test_gpu.py::test_b[float16 x] PASSED      [ 40%]",
        "tests/test_gpu.py::test_c FAILED      [ 60%]",
        "tests/test_gpu.py::test_d SKIPPED (no CUDA device) [ 80%]",
        "tests/test_gpu.py::test_e ERROR       [100%]",
        "E   assert 1 == 2",
        "FAILED tests/test_gpu.py::test_c - assert 1 == 2",
        "ERROR tests/test_gpu.py::test_e",
    ]
    assert marked_tests.counts(lines) == {
        "passed": 2,
        "failed": 2,
        "skipped": 1,
        "failures": {"tests/test_gpu.py::test_c": "assert 1 == 2", "tests/test_gpu.py::test_e": ""},
    }


def test_steps_after_the_warm_up_count():
    ends = [5.0, 9.0, 10.0, 11.5, 13.0]
    waits = [3.0, 0.5, 0.75, 0.75]
    assert watched.step_figures(ends, waits, warm_up=1, batch=8) == {
        "warm_up": 1,
        "steps": 3,
        "steps_per_second": 0.75,
        "tiles_per_second": 6.0,
        "median_step_seconds": 1.5,
        "waited_share": 0.5,
    }
    few = watched.step_figures(ends[:3], waits[:3], warm_up=8, batch=2)
    assert (few["warm_up"], few["steps"], few["tiles_per_second"]) == (1, 1, 2.0)
    with pytest.raises(RuntimeError, match="only 2 training steps"):
        watched.step_figures(ends[:2], waits[:1], warm_up=0, batch=8)


def test_a_training_is_watched_from_outside_and_ended_in_time(monkeypatch):
    monkeypatch.setattr(machine, "_sampler", lambda: None)
    network = torch.nn.Sequential(torch.nn.Linear(2, 1))
    optimiser = torch.optim.AdamW(network.parameters())

    def steps(count):
        for _ in range(count):
            time.sleep(0.05)  # as if it waited for data
            network(torch.ones(1, 2)).sum().backward()
            optimiser.step()

    watch = watched.Watch(seconds=60, warm_up=1)
    try:
        steps(4)
        assert (len(watch.ends), len(watch.waits)) == (4, 3)
        assert all(0.05 <= wait < 10 for wait in watch.waits)
        watch.deadline = 0
        with pytest.raises(watched.EnoughError):
            steps(1)
        figures = watch.figures(batch=2)
        assert (figures["steps"], figures["gpu_busy"]) == (3, None)
        assert 0.5 < figures["waited_share"] <= 1
    finally:
        watch.close()
    steps(1)
    assert (len(watch.ends), len(watch.waits)) == (5, 4)


def test_a_training_out_of_memory_is_tried_again_in_smaller_micro_batches(tmp_path, monkeypatch):
    tried = []

    def verb(task, cohort, size, together):
        tried.append(together)
        text = "import sys; sys.exit('out of memory: lower it')"
        if together <= 2:
            result = tmp_path / f"{size}.steps.json"
            text = f"open({str(result)!r}, 'w').write('{{\"steps\": 5}}')"
        return program(text)

    monkeypatch.setattr(training_speed, "watched", lambda *_: [])
    monkeypatch.setattr(training_speed, "verb", verb)
    task = Task(tmp_path, tmp_path / "r.json", FULL, True, 100.0)
    figures = training_speed.train(task, None, "B", 90.0)
    assert (tried, figures) == ([8, 4, 2], {"micro_batch": 2, "steps": 5})
    task = Task(tmp_path, tmp_path / "r.json", FULL, True, 5.0)
    assert training_speed.train(task, None, "B", 5.0) == {"reason": "no time was left"}


def test_a_training_that_fails_otherwise_is_not_tried_again(tmp_path, monkeypatch):
    failing = program("import sys; sys.exit('ERROR: no slide')")
    monkeypatch.setattr(training_speed, "watched", lambda *_: [])
    monkeypatch.setattr(training_speed, "verb", lambda *_: failing)
    task = Task(tmp_path, tmp_path / "r.json", FULL, True, 100.0)
    assert training_speed.train(task, None, "S", 90.0) == {"reason": "ERROR: no slide"}


@pytest.mark.parametrize(
    ("memory", "expected"), [(None, 8), (150.0, 8), (80.0, 4), (40.0, 2), (10.0, 1)]
)
def test_micro_batches_fit_the_memory(memory, expected):
    assert training_speed.micro_batch(8, memory, 14.0) == expected
