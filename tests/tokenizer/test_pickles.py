"""Checkpoints that would run code: refused, and nothing of them is run."""

import argparse
import json
import os
import pickle
import subprocess
import sys
import time
import types
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from checkpoint_files import (
    Evil,
    openmuse_config,
    refusal,
    write_taming,
    yaml_of,
)

from holohisto.tokenizer.published import load


def touch(marker: Path) -> list[Evil]:
    return [
        Evil(os.system, f"touch {marker}"),
        Evil(eval, f"open({str(marker)!r}, 'w')"),
        Evil(exec, f"open({str(marker)!r}, 'w')"),
        Evil(subprocess.Popen, ["touch", str(marker)]),
        Evil(Path.touch, marker),
        Evil(os.mkdir, str(marker)),
    ]


@pytest.mark.parametrize("form", ["ckpt", "bin", "raw pickle", "old torch format"])
@pytest.mark.parametrize("place", range(6))
def test_a_pickle_that_would_run_code_is_refused_and_did_not_run(form, place, plain, tmp_path):
    marker = tmp_path / "marker"
    evil = touch(marker)[place]
    path = tmp_path / ("pytorch_model.bin" if form == "bin" else "last.ckpt")
    (tmp_path / "config.json").write_text(json.dumps(openmuse_config(plain)))
    (tmp_path / "last.yaml").write_text(yaml.safe_dump(yaml_of(plain)))
    weights = {"quant_conv.weight": plain.quant_conv.weight}
    content = {**weights, "x": evil} if form == "bin" else {"state_dict": weights, "x": evil}
    if form == "raw pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form != "old torch format")
    assert "nothing of it was run" in refusal(path)
    assert not marker.exists()
    with path.open("rb") as file:  # and it would have
        pickle.load(file) if form == "raw pickle" else torch.load(file, weights_only=False)
    until = time.monotonic() + 10
    while not marker.exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert marker.exists()


@pytest.fixture
def lightning(monkeypatch):
    """Stand-ins of Lightning and OmegaConf whose objects tell when they are made."""
    made = []

    class Loud:
        def __init__(self, value):
            self.value = value

        def __setstate__(self, state):
            made.append("state set")

    def call(*arguments):
        made.append("called")

    for package, name in (
        ("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint"),
        ("pytorch_lightning.callbacks.early_stopping", "EarlyStopping"),
        ("omegaconf.dictconfig", "DictConfig"),
    ):
        module = types.ModuleType(package)
        loud = type(name, (Loud,), {"__module__": package})
        module.__dict__.update({name: loud, "call": call})
        call.__module__, call.__qualname__ = "omegaconf.dictconfig", "call"
        for depth in range(1, package.count(".") + 1):
            parent = ".".join(package.split(".")[:depth])
            monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
        monkeypatch.setitem(sys.modules, package, module)
    return made


def test_training_records_of_lightning_are_passed_over_and_never_made(
    lightning, plain, x, tmp_path
):
    modules = sys.modules
    checkpoint = modules["pytorch_lightning.callbacks.model_checkpoint"].ModelCheckpoint
    stopping = modules["pytorch_lightning.callbacks.early_stopping"].EarlyStopping
    omegaconf = modules["omegaconf.dictconfig"]
    path = write_taming(
        tmp_path,
        plain,
        callbacks={
            checkpoint: {"best_model_score": np.float64(0.5), "dirpath": Path("logs")},
            stopping: {"wait": 3},
        },
        hyper_parameters=omegaconf.DictConfig({"lr": 1e-4}),
        arguments=argparse.Namespace(a=1),
        types=[dict, list, int, float, str],
        defaults=defaultdict(dict),
        scheduler=Evil(omegaconf.call, "x"),
    )
    known = set(torch.serialization.get_safe_globals())
    model = load.read(path)
    assert lightning == []
    assert torch.equal(model.encoder.conv_in.weight, plain.encoder.conv_in.weight)
    assert set(torch.serialization.get_safe_globals()) == known
    torch.load(path, weights_only=False)
    assert sorted(lightning) == ["called", "state set"]
