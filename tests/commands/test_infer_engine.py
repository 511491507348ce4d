"""The verb infer on a CPU: OpenVINO, the file that it keeps, precisions, and no torch."""

import json
from pathlib import Path

import numpy as np
import pytest
from infer_verb import OPTIONS, command, prepared, write_unet
from without_torch import run_without_torch

from holohisto import cli
from holohisto.infer import engine
from holohisto.pyramid.raster import Raster
from holohisto.runtime import processor
from holohisto.segmenter.file import load_segmenter


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("infer"))


def infer(folder: Path, out: Path, **options) -> dict:
    words = command(folder, out)
    words[words.index("--options") + 1] = json.dumps(OPTIONS | options)
    assert cli.main(words) == 0
    return json.loads((out / "facts.json").read_text())


def labels(out: Path) -> np.ndarray:
    with Raster(out / "labels.tif") as raster:
        return np.concatenate(list(raster.rows()))


def test_torch_is_imported_for_the_conversion_only(folder, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    infer(folder, first)
    assert (folder / "segmenter.openvino").exists()
    run_without_torch(command(folder, second))
    assert (second / "labels.tif").read_bytes() == (first / "labels.tif").read_bytes()


def test_a_network_of_monai_needs_neither_monai_nor_torch_once_it_is_converted(folder, tmp_path):
    path = folder / "unet.safetensors"
    write_unet(path)
    words = ["segment", str(folder / "slide.tif"), "--model", str(path), "--output"]
    first, second = tmp_path / "first", tmp_path / "second"
    assert cli.main([*words, str(first)]) == 0
    assert (folder / "unet.openvino").exists()
    run_without_torch([*words, str(second)])
    found, expected = (out / "slide_tuft.tif" for out in (second, first))
    assert found.read_bytes() == expected.read_bytes()


def test_labels_are_those_of_torch(folder, tmp_path, monkeypatch):
    from holohisto.infer.torch_engine import TorchPredictor

    facts = infer(folder, tmp_path / "openvino")
    assert facts["engine"] == "OpenVINO, fp32"
    assert facts["precision_agreement"] is None
    model, *_ = load_segmenter(folder / "segmenter.safetensors")
    monkeypatch.setattr("holohisto.commands.infer.open_predictor", lambda *_: TorchPredictor(model))
    assert infer(folder, tmp_path / "torch")["engine"] == "torch, fp32"
    found, expected = labels(tmp_path / "openvino"), labels(tmp_path / "torch")
    assert len(np.unique(expected)) > 2
    assert (found != expected).mean() < 1e-4  # pixels at the threshold but for rounding


@pytest.mark.skipif(not processor.has_bf16(), reason="needs a processor with bf16")
def test_bf16_reports_how_many_pixels_have_the_same_classes(folder, tmp_path):
    facts = infer(folder, tmp_path / "bf16", precision="bf16")
    assert facts["engine"] == "OpenVINO, bf16"
    assert 0.9 < facts["precision_agreement"] < 1
    infer(folder, tmp_path / "fp32")
    differing = (labels(tmp_path / "bf16") != labels(tmp_path / "fp32")).mean()
    assert 0 < differing < 0.1


def test_bf16_is_refused_where_the_processor_does_not_have_it(
    folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(processor, "has_bf16", lambda: False)
    words = command(folder, tmp_path)
    words[words.index("--options") + 1] = json.dumps(OPTIONS | {"precision": "bf16"})
    assert cli.main(words) == 2
    assert "infer.precision: is not available on this processor" in capsys.readouterr().err
    assert not (tmp_path / "labels.tif").exists()


def counted(monkeypatch) -> list[str]:
    """Names of the files that are converted from now on."""
    made, load_or_convert = [], engine.load_or_convert

    def watched(name, folders, digest, convert):
        return load_or_convert(name, folders, digest, lambda: made.append(name) or convert())

    monkeypatch.setattr(engine, "load_or_convert", watched)
    return made


@pytest.mark.parametrize("change", ["damaged", "of another segmenter", "empty"])
def test_a_kept_network_that_does_not_match_is_made_again(folder, tmp_path, monkeypatch, change):
    kept = folder / "segmenter.openvino"
    infer(folder, tmp_path / "first")
    right, made = kept.read_bytes(), counted(monkeypatch)
    infer(folder, tmp_path / "second")
    assert not made
    wrong = bytearray(right)
    if change == "damaged":
        wrong[-100] ^= 1
    elif change == "empty":
        wrong.clear()
    else:
        digest = load_segmenter(folder / "segmenter.safetensors")[2]
        wrong = right.replace(digest.encode(), b"0" * 64)
        assert wrong != right
    kept.write_bytes(wrong)
    infer(folder, tmp_path / "third")
    assert made == ["segmenter.openvino"]
    infer(folder, tmp_path / "fourth")
    assert made == ["segmenter.openvino"]
    for again in ("second", "third", "fourth"):
        assert np.array_equal(labels(tmp_path / again), labels(tmp_path / "first"))


def test_a_network_is_kept_beside_the_labels_where_the_segmenter_cannot_be(folder, tmp_path):
    kept = folder / "segmenter.openvino"
    kept.unlink(missing_ok=True)
    kept.mkdir()  # cannot be replaced by a file, by root either
    try:
        infer(folder, tmp_path)
        assert (tmp_path / "segmenter.openvino").is_file()
    finally:
        kept.rmdir()
