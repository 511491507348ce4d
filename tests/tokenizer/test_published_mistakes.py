"""Checkpoints of other networks and damaged ones end in one line."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from checkpoint_files import (
    RANGES,
    WRITERS,
    Published,
    refusal,
    write_diffusers,
    write_openmuse,
    write_taming,
)
from safetensors.torch import load_file, save_file

from holohisto.config import checkpoint_files
from holohisto.errors import HolohistoError
from holohisto.tokenizer.file import save_tokenizer
from holohisto.tokenizer.published import load


def edited(path: Path, change) -> None:
    data = yaml.safe_load(path.read_text())
    change(data)
    path.write_text(json.dumps(data) if path.suffix == ".json" else yaml.safe_dump(data))


def in_ddconfig(**changes):
    return lambda data: data["model"]["params"]["ddconfig"].update(changes)


KEY = "model.params.ddconfig."


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (in_ddconfig(double_z=True), KEY + "double_z: Input should be False (found True)"),
        (in_ddconfig(in_channels=1), KEY + "in_channels: Input should be 3 (found 1)"),
        (in_ddconfig(out_ch=6), KEY + "out_ch: Input should be 3 (found 6)"),
        (in_ddconfig(attn_type="linear"), KEY + "attn_type: Input should be 'vanilla' or 'none'"),
        (in_ddconfig(resamp_with_conv=False), KEY + "resamp_with_conv: Input should be True"),
        (in_ddconfig(resolution=250), KEY + "resolution: is no multiple of f (found 250"),
        (in_ddconfig(ch_mult=[1]), KEY + "ch_mult: Tuple should have at least 2 items"),
        (in_ddconfig(ch=20), "no multiple of the groups of its normalisation (found 20"),
        (lambda d: d["model"]["params"]["ddconfig"].pop("ch"), KEY + "ch: Field required"),
        (lambda d: d["model"]["params"].update(remap="used.npy"), "remap: Input should be None"),
        (
            lambda d: d["model"].update(target="ldm.models.autoencoder.AutoencoderKL"),
            "model.target: is none of taming.models.vqgan.VQModel",
        ),
        (
            lambda d: d["model"]["params"].update(n_embed=100_000),
            "n_embed: Input should be less than or equal to 65536 (found 100000)",
        ),
        (lambda d: d.pop("model"), "model: Field required"),
    ],
)
def test_a_yaml_of_something_else_ends_in_one_line(change, line, plain, tmp_path):
    path = write_taming(tmp_path, plain)
    edited(tmp_path / "model.yaml", change)
    found = refusal(path)
    assert found.startswith(f"{tmp_path / 'model.yaml'}: ")
    assert line in found


@pytest.mark.parametrize("text", ["a: [", "- 1", "", "model: !!python/object/apply:os.getcwd []"])
def test_a_yaml_that_is_none_ends_in_one_line(text, plain, tmp_path):
    path = write_taming(tmp_path, plain)
    (tmp_path / "model.yaml").write_text(text)
    assert str(tmp_path / "model.yaml") in refusal(path)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"num_channels": 1}, "num_channels: Input should be 3 (found 1)"),
        ({"resample_with_conv": False}, "resample_with_conv: Input should be True"),
        ({"decoder_channel_mult": [1, 2, 4]}, "decoder_channel_mult: Input should be None"),
        ({"extra_mid_res_blocks": 2}, "extra_mid_res_blocks: Input should be None"),
        ({"attn_resolutions": [64], "num_res_blocks": 1}, "num_res_blocks 1 with attn_resolutions"),
        ({"_class_name": "MaskGitTransformer"}, "does not describe a VQGAN (found _class_name Mas"),
    ],
)
def test_an_openmuse_config_of_something_else_ends_in_one_line(change, line, plain, tmp_path):
    write_openmuse(tmp_path, plain)
    edited(tmp_path / "config.json", lambda data: data.update(change))
    found = refusal(tmp_path)
    assert found.startswith(f"{tmp_path / 'config.json'}: ")
    assert line in found


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"norm_type": "spatial"}, "norm_type: Input should be 'group' (found 'spatial')"),
        ({"act_fn": "gelu"}, "act_fn: Input should be 'silu' or 'swish'"),
        ({"block_out_channels": [32, 48, 96]}, "must be multiples of the first"),
        ({"block_out_channels": [32, 64]}, "differ in their number"),
        (
            {"up_block_types": ["AttnUpDecoderBlock2D"] + ["UpDecoderBlock2D"] * 2},
            "must have attention where",
        ),
        ({"down_block_types": ["DownBlock2D"] * 3}, "down_block_types.0: Input should be"),
        ({"in_channels": 4}, "in_channels: Input should be 3 (found 4)"),
    ],
)
def test_a_diffusers_config_of_something_else_ends_in_a_line(change, line, plain, tmp_path):
    write_diffusers(tmp_path, plain)
    edited(tmp_path / "config.json", lambda data: data.update(change))
    with pytest.raises(HolohistoError) as caught:
        load.read(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'config.json'}: ")
    assert line in str(caught.value).splitlines()[0]


def test_a_range_that_the_layout_does_not_state_must_be_given(plain, tmp_path):
    write_diffusers(tmp_path, plain)
    edited(tmp_path / "config.json", lambda data: data.update(lookup_from_codebook=False))
    assert "does not state the range of its pixels; set tokenizer.pixel_range" in refusal(tmp_path)
    for given in ("-1..1", "0..1"):
        assert load.read(tmp_path, given).architecture.pixel_range == given


@pytest.mark.parametrize("name", [*WRITERS, "own"])
def test_a_range_against_the_layout_is_refused(name, plain, tmp_path):
    path = WRITERS.get(name, write_taming)(tmp_path / "a", plain)
    if name == "own":
        save_tokenizer(load.read(path), tmp_path / "own.safetensors", {})
        path = tmp_path / "own.safetensors"
    stated = RANGES.get(name, "-1..1")
    wrong = "0..1" if stated == "-1..1" else "-1..1"
    assert f"(found {wrong}; allowed {stated})" in refusal(path, pixel_range=wrong)
    assert load.read(path, stated).architecture.pixel_range == stated


def saved(path: Path, change) -> None:
    """Change the weights of an openMUSE folder."""
    state = torch.load(path / "pytorch_model.bin")
    change(state)
    torch.save(state, path / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            lambda s: s.pop("quant_conv.bias"),
            "lacks weights that its configuration asks for (found 1, first quant_conv.bias)",
        ),
        (
            lambda s: s.update({"encoder.temb.weight": torch.zeros(1)}),
            "holds weights that its configuration does not know (found 1, first"
            " encoder.temb.weight)",
        ),
        (lambda s: s.update({"loss.x": torch.zeros(1)}), "(found 1, first loss.x)"),
        (
            lambda s: s.update({"quant_conv.weight": torch.zeros(5, 7, 1, 1)}),
            "quant_conv.weight is not of the shape that its configuration asks for"
            " (found 5 x 7 x 1 x 1; allowed 5 x 6 x 1 x 1)",
        ),
        (
            lambda s: s["encoder.conv_in.weight"].view(-1)[7:8].fill_(float("nan")),
            "encoder.conv_in.weight is damaged: not all its numbers are finite",
        ),
        (lambda s: s.update({"step": 3}), "something other than weights, under step (found int)"),
        (lambda s: s.clear(), "holds no weights by name"),
    ],
)
def test_weights_that_do_not_fit_end_in_one_line(change, line, plain, tmp_path):
    write_openmuse(tmp_path, plain)
    saved(tmp_path, change)
    found = refusal(tmp_path)
    assert found.startswith(f"{tmp_path / 'pytorch_model.bin'}: ")
    assert line in found


def test_another_downscale_than_the_configuration_is_reported_as_such(plain, tmp_path):
    path = write_taming(tmp_path, plain)
    edited(tmp_path / "model.yaml", in_ddconfig(ch_mult=[1, 2, 2, 3]))
    assert "(found f = 4 in the weights; allowed f = 8 as in the configuration)" in refusal(path)


def test_attention_that_the_yaml_leaves_out_is_not_dropped_silently(tmp_path):
    path = write_taming(tmp_path, Published(attention=True))
    edited(tmp_path / "model.yaml", in_ddconfig(attn_type="none"))
    assert "does not know (found 70, first decoder.mid.attn_1.k.bias)" in refusal(path)


def test_two_names_for_one_weight_are_refused(plain, tmp_path):
    write_diffusers(tmp_path, plain)
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    state = load_file(path)
    state["encoder.norm_out.bias"] = state["encoder.conv_norm_out.bias"] + 1
    save_file(state, path)
    assert "(found 1, first encoder.norm_out.bias as encoder." in refusal(tmp_path)


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("keep", [0, 100, 0.5, 0.99])
def test_weights_cut_short_end_in_one_line(name, keep, plain, tmp_path):
    found = checkpoint_files.find(WRITERS[name](tmp_path, plain))
    content = found.weights.read_bytes()
    found.weights.write_bytes(content[: int(keep * len(content)) if keep < 1 else keep])
    assert refusal(tmp_path).startswith(f"{found.weights}: ")
