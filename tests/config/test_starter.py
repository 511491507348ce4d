"""Where the starter weights are: in a checkout, in an installed package, in a named folder."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from holohisto.config import starter as module
from holohisto.config.parsing import parse_config
from holohisto.config.starter import located, starter
from holohisto.errors import HolohistoError
from holohisto.planning.named_files import missing

ROOT = Path(__file__).parents[2]
NAMES = ("tokenizer.safetensors", "segmenter.safetensors")


def folder_of(path: Path, *names: str) -> Path:
    path.mkdir(parents=True)
    for name in names:
        (path / name).write_text(name)
    return path


def test_it_is_found_in_the_package_before_the_checkout(tmp_path, monkeypatch):
    monkeypatch.delenv("HOLOHISTO_STARTER", raising=False)
    installed, checkout = tmp_path / "installed", folder_of(tmp_path / "checkout", *NAMES)
    monkeypatch.setattr(module, "FOLDERS", (installed, checkout))
    assert starter() == tuple(checkout / name for name in NAMES)
    folder_of(installed, *NAMES)
    assert starter().segmenter == installed / "segmenter.safetensors"


def test_a_named_folder_is_used_instead_of_both(tmp_path, monkeypatch):
    monkeypatch.setenv("HOLOHISTO_STARTER", str(folder_of(tmp_path / "ours", *NAMES)))
    assert starter().tokenizer == tmp_path / "ours" / "tokenizer.safetensors"
    assert located(Path("starter"), "segmenter") == tmp_path / "ours" / "segmenter.safetensors"
    assert located(Path("mine.safetensors"), "segmenter") == Path("mine.safetensors")


def test_without_both_files_one_line_says_what_to_do(tmp_path, monkeypatch):
    folder = folder_of(tmp_path / "half", NAMES[0])
    monkeypatch.setenv("HOLOHISTO_STARTER", str(folder))
    with pytest.raises(HolohistoError, match="the starter weights are not installed") as caught:
        starter()
    assert f"in {folder}); install HoloHisto again, name their folder in" in str(caught.value)
    models = {"a": {"kind": "holohisto", "pretrained": "starter"}}
    settings = parse_config({"models": models, "tokenizer": {"checkpoint": "starter"}})
    lines = list(missing(settings))
    assert [line.split(": starter")[0] for line in lines] == [
        "config: models.a.pretrained",
        "config: tokenizer.checkpoint",
    ]


def test_a_wheel_holds_the_weights(tmp_path):
    """Built from a copy, with files that stand for weights where the checkout has none."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "holohisto", source / "holohisto", ignore=ignored)
    shutil.copytree(ROOT / "resources" / "starter", source / "resources" / "starter")
    for name in NAMES:
        if not (weights := source / "resources" / "starter" / name).exists():
            weights.write_text(name)
    words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(words, cwd=source, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    folder = tmp_path / "site" / "holohisto" / "starter"
    assert {path.name for path in folder.iterdir()} == {*NAMES, "README.md"}
    code = "from holohisto.config.starter import starter; print(*starter(), sep='\\n')"
    words = [sys.executable, "-c", code]
    environment = {"PYTHONPATH": str(tmp_path / "site"), "PATH": "/usr/bin:/bin"}
    run = {"cwd": tmp_path, "env": environment, "text": True, "capture_output": True}
    done = subprocess.run(words, check=False, **run)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(folder / name) for name in NAMES]
