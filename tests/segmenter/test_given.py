"""Segmenters that a configuration names are compared with it before anything runs."""

import numpy as np
import pytest
from starter_files import segmenter_of, write_segmenter, write_starter, write_tokenizer

from holohisto.cli import main
from holohisto.config.parsing import parse_config
from holohisto.pyramid.write import write_slide_pyramid
from holohisto.runtime.results import Results
from holohisto.segmenter.given import mistakes


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The starter, which is also a tokenizer and a segmenter that somebody trained."""
    folder = write_starter(tmp_path / "starter")
    monkeypatch.setenv("HOLOHISTO_STARTER", str(folder))
    return folder


def found(files, model, checkpoint="tokenizer.safetensors", **sections):
    """The mistakes of a model with these options, and of a run without results."""
    options = {"kind": "holohisto", "size": "T"} | model
    for key in {"weights", "pretrained"} & set(options):
        if options[key] != "starter":
            options[key] = str(files / options[key])
    if checkpoint is not None:
        named = checkpoint if checkpoint == "starter" else str(files / checkpoint)
        sections["tokenizer"] = {"checkpoint": named}
    settings = parse_config({"models": {"m": options}, **sections})
    return mistakes(settings, Results(files / "results"))


@pytest.mark.parametrize("key", ["weights", "pretrained"])
@pytest.mark.parametrize("name", ["segmenter.safetensors", "starter"])
def test_what_belongs_together_suits(files, key, name):
    assert found(files, {key: name}) == []
    assert found(files, {key: name}, "starter") == []


@pytest.mark.parametrize(
    ("model", "sections", "words"),
    [
        ({"size": "S"}, {}, "another size (found T; allowed S); set the model's `size: T`"),
        ({"embedding": "linear"}, {}, "another embedding (found tokens; allowed linear)"),
        ({}, {"check": {"mpp": 0.25}}, "(found 0.5 um/px, here 0.25 um/px); set check.mpp"),
    ],
)
def test_a_start_for_another_network_or_resolution_is_one_line(files, model, sections, words):
    (line,) = found(files, {"pretrained": "starter"} | model, **sections)
    assert line.startswith("config: models.m.pretrained: segmenter was trained")
    assert words in line


def test_other_classes_are_no_obstacle_to_a_start_but_to_weights(files):
    classes = {"tuft": {"values": [1]}}
    assert found(files, {"pretrained": "starter"}, classes=classes) == []
    (line,) = found(files, {"weights": "starter"}, classes=classes)
    assert line.startswith("config: models.m.weights: segmenter finds other classes")
    assert "(found glomerulus; allowed tuft)" in line


@pytest.mark.parametrize("key", ["weights", "pretrained"])
def test_another_tokenizer_or_a_new_one_is_one_line(files, key):
    write_tokenizer(files / "other.safetensors", seed=9)
    (line,) = found(files, {key: "starter"}, "other.safetensors")
    assert f"config: models.m.{key}: segmenter reads the tokens of another tokenizer" in line
    (line,) = found(files, {key: "starter"}, None)
    assert "(found one that this run trains; allowed " in line
    assert line.endswith(
        "set tokenizer.checkpoint to its own tokenizer (`starter` for the starter)"
    )


def test_a_tokenizer_that_the_run_has_trained_before_is_compared(files):
    results = Results(files / "results")
    results.tokenizer.parent.mkdir(parents=True)
    results.tokenizer.write_bytes((files / "tokenizer.safetensors").read_bytes())
    assert found(files, {"pretrained": "segmenter.safetensors"}, None) == []
    write_tokenizer(results.tokenizer, seed=9)
    assert "another tokenizer" in found(files, {"pretrained": "segmenter.safetensors"}, None)[0]


def test_weights_of_another_mode_and_kind_are_one_line(files):
    assert (
        "tokens.mode (found frozen; allowed online)"
        in (found(files, {"weights": "starter"}, tokens={"mode": "online"})[0])
    )
    settings = parse_config({"models": {"m": {"kind": "unet", "weights": "starter"}}})
    (line,) = mistakes(settings, Results(files))
    assert "another kind (found holohisto; allowed unet)" in line


def test_a_segmenter_over_pixels_needs_no_tokenizer(files):
    model, options = segmenter_of(5, 1, embedding="linear")
    write_segmenter(files / "linear.safetensors", model, options, ["glomerulus"], None)
    linear = {"embedding": "linear", "pretrained": "linear.safetensors"}
    assert found(files, linear, None) == []


def test_a_file_that_is_none_is_one_line_and_a_missing_one_is_left_out(files):
    (files / "junk.safetensors").write_text("hello")
    (line,) = found(files, {"pretrained": "junk.safetensors"})
    assert "junk.safetensors: is no segmenter, or damaged" in line
    assert found(files, {"pretrained": "missing.safetensors"}) == []


def test_check_of_a_sheet_reports_them(files, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_slide_pyramid(tmp_path / "p.tif", np.full((131, 203, 3), 200, np.uint8), 0.5)
    (tmp_path / "s.tsv").write_text("slide\timage\tsplit\np\tp.tif\tpredict\n")
    config = "models: {m: {kind: holohisto, size: S, pretrained: starter}, n: {kind: holohisto,"
    (tmp_path / "c.yaml").write_text(config + " pretrained: none.safetensors}}\n")
    assert main(["check", "--sheet", "s.tsv", "--config", "c.yaml"]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if "ERROR" in line]
    assert len(errors) == 2
    assert "config: models.n.pretrained: no such file: none.safetensors" in errors[0]
    assert "config: models.m.pretrained: segmenter was trained with another size" in errors[1]
