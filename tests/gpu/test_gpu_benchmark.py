"""The parts of the GPU benchmark that need no GPU: time, isolation, records, tables, slides."""

import argparse
import json
import sys
import time
import types
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

import holohisto
from holohisto.config.training import TokensOptions
from holohisto.slide import Slide

sys.path.insert(0, str(Path(holohisto.__file__).parents[1]))  # benchmarks are no part of the wheel
from benchmarks.gpu import isolation, machine, record, slides, table, verbs, watched, wheels
from benchmarks.gpu.budget import Budget
from benchmarks.gpu.cohort import Cohort
from benchmarks.gpu.parts import marked_tests, training_speed, whole_slide
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


def program(text):
    return [sys.executable, "-c", text]


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


RUN = {
    "dry_run": True,
    "device": "cpu",
    "cores": 2,
    "python": "3.11.7",
    "packages": {"torch": "2.13.0"},
    "cuda": None,
    "started": "2026-01-02 03:04 UTC",
    "parts": {
        "tests": {
            "status": "failed",
            "seconds": 6.25,
            "reason": "RuntimeError: pytest ended with 1",
            "result": {"passed": 12, "failed": 1, "skipped": 0, "failures": {"t.py::a": "no"}},
        },
        "encoder": {
            "status": "done",
            "seconds": 20,
            "result": {
                "crop": [3840, 2160],
                "tokens_per_second": 123456.7,
                "tflops": 99.5,
                "peak_tflops": 800.25,
                "share_of_peak": 0.1243,
            },
        },
        "training": {
            "status": "failed",
            "seconds": 60,
            "reason": "size B: out of memory | again",
            "result": {
                "tile": [3840, 2160],
                "batch": 8,
                "models": {
                    "S": {
                        "micro_batch": 4,
                        "steps_per_second": 1.25,
                        "tiles_per_second": 10,
                        "peak_gb": 31.5,
                        "waited_share": 0.25,
                        "gpu_busy": None,
                    },
                    "B": {"reason": "out of memory"},
                },
            },
        },
        "slide": {
            "status": "out of time",
            "seconds": 145.0,
            "reason": "ended after 145 s",
            "result": {
                "size": [44896, 46410],
                "segmenter": "S",
                "trained": False,
                "stages": {
                    "check": {"seconds": 1.5, "gpu_busy": None},
                    "infer": {"seconds": 60.0, "gpu_busy": 0.875, "own_busy": 0.9},
                },
                "seconds_in_all": 61.5,
            },
        },
        "attention": {
            "status": "done",
            "seconds": 9.0,
            "result": {
                "races": {
                    "68x120": {
                        "LiteMLA": {"least_ms": 3.0, "median_ms": 3.1, "peak_mb": 122.4},
                        "ours": {"least_ms": 1.5, "median_ms": 1.6, "peak_mb": 109.0},
                    }
                },
                "missed": ["68x120: no slower"],
            },
        },
    },
}


def test_the_tables_of_a_run():
    assert table.render(RUN) == (
        """\
# Figures of a GPU

cpu, 2 cores, Python 3.11.7, torch 2.13.0, no CUDA, 2026-01-02 03:04 UTC.

**Dry run: small sizes, the figures mean nothing.**

| part | status | seconds | reason |
| --- | --- | --- | --- |
| tests | failed | 6.2 | RuntimeError: pytest ended with 1 |
| encoder | done | 20.0 |  |
| training | failed | 60.0 | size B: out of memory / again |
| slide | out of time | 145.0 | ended after 145 s |
| attention | done | 9.0 |  |

## Tests marked gpu

12 passed, 1 failed, 0 skipped.

- t.py::a: no

## Encoder, bf16

| crop | tokens/s | TFLOP/s | peak TFLOP/s (bf16 product) | share of the peak |
| --- | --- | --- | --- | --- |
| 3840 x 2160 | 123,457 | 99.50 | 800.25 | 12.4 % |

## Training, tiles of 3840 x 2160, 8 a step

| size | micro-batch | steps/s | tiles/s | peak GB | waited for data | GPU busy |
| --- | --- | --- | --- | --- | --- | --- |
| S | 4 | 1.250 | 10.00 | 31.5 | 25.0 % | - |
| B | - | - | - | - | - | - |

## A slide of 44896 x 46410, size S, untrained

| stage | seconds | GPU busy | not waiting for pixels |
| --- | --- | --- | --- |
| check | 1.5 | - | - |
| infer | 60.0 | 87.5 % | 90.0 % |
| all | 61.5 |  |  |

## Attention

| race | ours | beside it | times as fast |
| --- | --- | --- | --- |
| 68x120 | 1.50 ms, 109 MB | LiteMLA: 3.00 ms, 122 MB | 2.00 |

- missed: 68x120: no slower
"""
    )


def test_tables_of_a_run_that_was_cut_off_at_once():
    text = table.render({"device": "one GPU", "gpu_memory_gb": 80.0, "cuda": "13.0", "parts": {}})
    assert text.startswith("# Figures of a GPU\n\none GPU, 80.0 GB, ? cores, Python ?, torch ?")
    parts = {name: {"status": "running", "result": {"stages": {}}} for name in RUN["parts"]}
    assert "| slide | running | - |  |" in table.render({"parts": parts})


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


def test_a_slide_of_repeated_tissue(tmp_path):
    random = np.random.default_rng(0)
    block = np.kron(random.integers(60, 200, (32, 32, 1)), np.ones((16, 16, 3))).astype(np.uint8)
    size, path = (2000, 1601), tmp_path / "s.tif"
    slides.write_slide(path, block, size)
    tissue = slides.tissue_blocks(size, 512)
    assert tissue.tolist() == [
        [False, True, True, False],
        [True, True, True, True],
        [True, True, True, True],
        [False, True, True, False],
    ]
    with Slide(path) as slide:
        assert (slide.size, slide.mpp, slide.reader) == (size, 0.5, "cucim")
        assert slide.levels == [(2000, 1601), (1000, 800), (500, 400), (250, 200)]
        assert (slide.read((0, 0), (512, 512)) == slides.GLASS).all()
        first = slide.read((512, 0), (512, 512))
        assert np.abs(first.astype(int) - block).mean() < 6
        assert (slide.read((1024, 512), (512, 512)) == first).all()
        assert first[:65].tolist() == slide.read((512, 1536), (512, 65)).tolist()
        for factor in (2, 4, 8):
            side = 512 // factor
            reduced = slide.read((512, 512), (side, side), factor).astype(int)
            means = block.reshape(side, factor, side, factor, 3).mean(axis=(1, 3))
            assert np.abs(reduced - means).mean() < 8


def test_the_share_of_busy_time_is_sampled_by_nvml(monkeypatch):
    nvml = types.SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByIndex=lambda index: f"GPU {index}",
        nvmlDeviceGetUtilizationRates=lambda handle: types.SimpleNamespace(gpu=75),
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(machine, "SAMPLE_SECONDS", 0.001)
    with machine.Busy() as busy:
        time.sleep(0.1)
    assert (busy.share, len(busy.samples) > 2) == (0.75, True)


def test_the_share_of_busy_time_is_read_from_nvidia_smi_without_nvml(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 50\n")
    program.chmod(0o755)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr(machine, "SAMPLE_SECONDS", 0.001)
    with machine.Busy() as busy:
        time.sleep(0.5)
    assert busy.share == 0.5
    program.write_text("#!/bin/sh\nexit 9\n")
    with machine.Busy() as busy:
        time.sleep(0.2)
    assert busy.share is None


def test_a_slide_tells_whether_its_reader_works(tmp_path, monkeypatch):
    assert slides.try_reader(tmp_path / "try.tif")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(Slide, "read", lambda self, xy, size: np.zeros((*size, 3), np.uint8))
    assert not slides.try_reader(tmp_path / "try.tif")


def test_the_command_line_of_a_verb():
    words = verbs.words("tokens", Path("a b.tif"), record="c.json", tokens_options='{"x": 1}')
    assert words == ["tokens", "a b.tif", "--record", "c.json", "--tokens-options", '{"x": 1}']


def test_the_share_of_a_stage_that_does_not_wait_for_pixels():
    assert whole_slide.own_busy("infer", {"busy": 0.9}) == 0.9
    assert whole_slide.own_busy("tokens", {"seconds": 8.0, "reading_seconds": 2.0}) == 0.75
    assert whole_slide.own_busy("mask", {}) is None


@pytest.mark.parametrize("sizes", [FULL, DRY])
def test_the_verbs_understand_what_they_are_given(tmp_path, monkeypatch, sizes):
    monkeypatch.setattr(training_speed, "_foreground_pixels", lambda cohort, name: 10**7)
    cohort, task = Cohort(tmp_path, sizes), Task(tmp_path, tmp_path / "r.json", sizes, True, 9.0)
    commands = [words for words, _ in whole_slide.calls(task, cohort, tmp_path, True).values()]
    commands.append(cohort.train_tokenizer())
    commands += [training_speed.verb(task, cohort, size, 2) for size in sizes.models]
    commands.append(cohort.tokens("train-0", TokensOptions()))
    for verb, *words in commands:
        parser = argparse.ArgumentParser(exit_on_error=False)
        import_module(f"holohisto.commands.{verb}").add_arguments(parser)
        found = vars(parser.parse_args(words))
        assert found.get("image", tmp_path / "whole.tif").parent == tmp_path
    assert [command[0] for command in commands] == [
        "check",
        "foreground",
        "tokens",
        "infer",
        "mask",
        "tokenizer",
        "train",
        "train",
        "tokens",
    ]


def test_what_is_taken_from_the_lock_file():
    text = "a==1 \\\n    --hash=sha256:0\nab==2 \\\n    --hash=sha256:1 \\\n    --hash=sha256:2\n"
    assert wheels.locked(text, ("ab",)) == text[text.index("ab") :]
    with pytest.raises(ValueError, match="no c"):
        wheels.locked(text, ("a", "c"))
    lock = (wheels.ROOT / "requirements.lock").read_text()
    assert wheels.locked(lock, wheels.NAMES).count("==") == len(wheels.NAMES)
    assert not {"torch", "torchvision", "numpy"} & set(wheels.NAMES)


def test_wheels_of_more_than_64_mib_are_too_large(tmp_path):
    (tmp_path / "a.whl").write_bytes(bytes(3 * 2**19))
    (tmp_path / "notes.txt").write_bytes(bytes(9))
    assert wheels.size_mib(tmp_path) == 1.5
    assert (wheels.too_large(64.0), wheels.too_large(64.1)) == (False, True)
