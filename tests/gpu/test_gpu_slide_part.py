"""The slide part of the GPU benchmark: slides, busy share, command lines, wheels."""

import argparse
import sys
import time
import types
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import holohisto
from holohisto.config.training import TokensOptions
from holohisto.slide import Slide

sys.path.insert(0, str(Path(holohisto.__file__).parents[1]))  # benchmarks are no part of the wheel
from benchmarks.gpu import machine, slides, verbs, wheels
from benchmarks.gpu.cohort import Cohort
from benchmarks.gpu.parts import training_speed, whole_slide
from benchmarks.gpu.sizes import DRY, FULL
from benchmarks.gpu.task import Task


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
def test_the_verbs_understand_what_they_are_given(tmp_path, sizes):
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
