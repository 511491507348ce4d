"""The example of docs/library.md runs on a small slide, without a network."""

import importlib
import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_cohort import paint

from holohisto import cli
from holohisto.config.models import HolohistoModel
from holohisto.pyramid.write import write_slide_pyramid
from holohisto.segmenter.card import ModelCard
from holohisto.segmenter.file import build_segmenter, save_segmenter
from holohisto.tokenizer.architecture import Architecture
from holohisto.tokenizer.file import save_tokenizer, tokenizer_digest
from holohisto.tokenizer.vqgan import VQGAN

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "library.md").read_text()
MOST_LINES = 40


def example() -> str:
    return re.search(r"^```python\n(.*?)^```$", PAGE, flags=re.M | re.S)[1]


def write_models() -> None:
    """An untrained tokenizer and segmenter, where the workflow writes its own."""
    torch.manual_seed(0)
    architecture = Architecture(
        channels=8,
        multipliers=(1, 1, 1, 1),
        residual_blocks=1,
        codebook=16,
        dimension=2,
        levels=(4, 4),
    )
    tokenizer = VQGAN(architecture).eval().requires_grad_(False)
    options = HolohistoModel(size="T")
    model = build_segmenter(options, torch.randn(16, 2), 8, 1)
    digest = tokenizer_digest(tokenizer)
    card = ModelCard(
        "holohisto", options, ("glomerulus",), 0.5, (256, 192), digest, 8, "frozen", "fp32", {}
    )
    save_tokenizer(tokenizer, Path("results/tokenizer/tokenizer.safetensors"), {})
    save_segmenter(model.state_dict(), card, Path("results/models/holohisto/segmenter.safetensors"))


@pytest.fixture
def demo(tmp_path, monkeypatch):
    """What `make demo` leaves behind of one slide, smaller and untrained."""
    monkeypatch.chdir(tmp_path)
    for folder in (
        "demo/slides",
        "results/tokenizer",
        "results/models/holohisto",
        "results/tokens",
    ):
        Path(folder).mkdir(parents=True)
    rgb, _ = paint(0)
    rgb = np.kron(rgb, np.ones((2, 2, 1), np.uint8))
    write_slide_pyramid(Path("demo/slides/normal-3.tif"), rgb, 0.25)
    write_models()
    image, record = "demo/slides/normal-3.tif", "results/check.json"
    tissue = "results/foreground.tif"
    files = {
        "tokenizer": "results/tokenizer/tokenizer.safetensors",
        "tokens": "results/tokens/normal-3.safetensors",
        "quality": "results/tokens/normal-3.json",
        "picture": "results/tokens/normal-3.jpg",
    }
    few = json.dumps({"orientations": 1, "appearances": 0})
    run("check", image, slide="normal-3", output=record)
    run("foreground", image, record=record, foreground=tissue, picture="results/foreground.jpg")
    run("tokens", image, record=record, foreground=tissue, options=few, **files)


def run(verb: str, image: str, **flags: str) -> None:
    words = [word for name, value in flags.items() for word in (f"--{name}", value)]
    assert cli.main([verb, image, *words]) == 0


def test_the_example_runs(demo, capsys):
    names = {}
    exec(compile(example(), "docs/library.md", "exec"), names)
    assert names["rgb"].shape == (768, 1024, 3)
    assert names["tokens"].shape == (384 // 8, 512 // 8)
    assert names["labels"].shape == (384, 512)
    assert names["probability"].shape == (96, 128)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "(1400, 1060) pixels at 0.25 um per pixel, read by cucim"
    assert len(lines) == 3


def test_the_example_is_short():
    assert len(example().splitlines()) <= MOST_LINES


def test_every_name_in_the_table_of_functions_is_there():
    table = PAGE.split("\n## Modules\n")[1]
    names = re.findall(r"`(holohisto(?:\.\w+)+)`", table)
    assert len(names) > 10
    for name in names:
        module, _, attribute = name.rpartition(".")
        spec = importlib.util.find_spec(module)
        assert spec, name
        if not hasattr(importlib.import_module(module), attribute):
            assert importlib.util.find_spec(name), name
