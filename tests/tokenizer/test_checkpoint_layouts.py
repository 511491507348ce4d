"""The files of a checkpoint are found, whichever is named."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from checkpoint_files import (
    WRITERS,
    diffusers_config,
    openmuse_config,
    refusal,
    write_diffusers,
    write_taming,
)

from holohisto.config import checkpoint_files
from holohisto.tokenizer.published import load


def test_files_are_found_from_a_folder_or_any_of_them(plain, tmp_path):
    for name, write in WRITERS.items():
        write(tmp_path / name, plain)
    ckpt, described = tmp_path / "taming/last.ckpt", tmp_path / "taming/model.yaml"
    assert (
        checkpoint_files.files(ckpt)
        == checkpoint_files.files(tmp_path / "taming")
        == [ckpt, described]
    )
    for name, weights in (
        ("openmuse", "pytorch_model.bin"),
        ("diffusers", "diffusion_pytorch_model.safetensors"),
    ):
        folder = tmp_path / name
        expected = [folder / weights, folder / "config.json"]
        assert all(checkpoint_files.files(path) == expected for path in (folder, *expected))
        assert checkpoint_files.find(folder).layout == name
    write_diffusers(tmp_path / "diffusers", plain, old=True)
    older = tmp_path / "diffusers/diffusion_pytorch_model.bin"
    assert checkpoint_files.files(older)[0] == older
    assert checkpoint_files.find(tmp_path / "diffusers").weights.suffix == ".safetensors"
    own = tmp_path / "own.safetensors"
    assert checkpoint_files.files(own) == [own]  # not there yet


def test_of_several_yamls_the_one_of_the_same_name_counts(plain, tmp_path):
    path = write_taming(tmp_path, plain)
    (tmp_path / "other.yaml").write_text("")
    assert "needs the .yaml that describes it beside it (found model.yaml, other.yaml" in refusal(
        path
    )
    (tmp_path / "model.yaml").rename(tmp_path / "last.yaml")
    assert checkpoint_files.find(path).config == tmp_path / "last.yaml"


def nothing_but(*names: str):
    def make(folder: Path) -> None:
        for name in names:
            (folder / name).write_text("{}")

    return make


@pytest.mark.parametrize(
    ("make", "name", "line"),
    [
        (nothing_but(), "", "holds no tokenizer's checkpoint (allowed a tokenizer.safetensors"),
        (nothing_but("a.ckpt"), "a.ckpt", "needs the .yaml that describes it beside it (found no"),
        (nothing_but("a.ckpt", "b.ckpt"), "", "several checkpoints (found a.ckpt, b.ckpt)"),
        (nothing_but("config.json"), "", "does not describe a VQGAN (found _class_name None"),
        (nothing_but("pytorch_model.bin"), "pytorch_model.bin", "config.json: no such file"),
        (nothing_but("model.onnx"), "model.onnx", "is not a tokenizer's checkpoint"),
        (nothing_but(), "none.ckpt", "no such file or folder"),
        (
            lambda folder: (folder / "config.json").write_text('{"_class_name": "VQModel"}'),
            "",
            "holds no weights of the VQModel that its config.json describes (allowed diffusion_",
        ),
        (lambda folder: (folder / "config.json").write_text("[1]"), "", "must hold a mapping"),
        (lambda folder: (folder / "config.json").write_text("{"), "", "cannot be read"),
    ],
)
def test_missing_and_foreign_files_end_in_one_line(make, name, line, tmp_path):
    make(tmp_path)
    assert line in refusal(tmp_path / name)


def test_finding_the_files_loads_no_torch():
    code = "import sys, holohisto.config.checkpoint_files\nsys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_config_written_here_is_read(network, tmp_path):
    """The configurations of the exporters are whole: no default of a class fills a gap."""
    for config, form in (
        (openmuse_config(network), load.openmuse),
        (diffusers_config(network), load.diffusers),
    ):
        (tmp_path / "config.json").write_text(json.dumps(config))
        read = form.configuration(tmp_path / "config.json")
        unset = set(type(read).model_fields) - read.model_fields_set
        assert unset <= {
            "decoder_hidden_channels",
            "decoder_channel_mult",
            "decoder_res_blocks",
            "extra_mid_res_blocks",
        }
