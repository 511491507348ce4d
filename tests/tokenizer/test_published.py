"""Published tokenizers: every layout to the same network, mistakes in one line, no code run."""

import argparse
import copy
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
    WRITERS,
    Published,
    diffusers_config,
    openmuse_config,
    write_diffusers,
    write_openmuse,
    write_taming,
    yaml_of,
)
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from taming.modules.diffusionmodules.model import AttnBlock

from holohisto import cli
from holohisto.commands.tokenizer import TissueTiles
from holohisto.config import checkpoint_files
from holohisto.errors import HolohistoError
from holohisto.pyramid.write import write_slide_pyramid
from holohisto.runtime.results import Results
from holohisto.tiles.appearance import Strength
from holohisto.tokenizer.attention import ChunkedAttention
from holohisto.tokenizer.calibration import calibrate
from holohisto.tokenizer.file import load_tokenizer, save_tokenizer, tokenizer_digest
from holohisto.tokenizer.published import load
from holohisto.tokenizer.vqgan import VQGAN
from holohisto.tokens.encoders import encoder_for

RANGES = {"taming": "-1..1", "openmuse": "0..1", "diffusers": "0..1"}


@pytest.fixture(scope="module", params=[False, True], ids=["local", "attention"])
def network(request):
    return Published(attention=request.param)


@pytest.fixture(scope="module")
def plain():
    return Published()


@pytest.fixture(scope="module")
def x():
    """Pixels in -1..1 with structure at several scales."""
    random = np.random.default_rng(1)
    scales = [
        np.kron(random.uniform(-1, 1, (3, 48 // s, 80 // s)), np.ones((1, s, s))) / 3
        for s in (1, 4, 16)
    ]
    return torch.from_numpy(sum(scales))[None].float()


def refusal(path: Path, **options) -> str:
    """The one line that reading ends in."""
    with pytest.raises(HolohistoError) as caught:
        load.read(path, **options)
    lines = str(caught.value).splitlines()
    assert len(lines) == 1
    return lines[0]


# One network in every layout


def test_one_network_in_all_layouts_is_the_same(network, x, tmp_path):
    found = {name: load.read(write(tmp_path / name, network)) for name, write in WRITERS.items()}
    found["old diffusers"] = load.read(write_diffusers(tmp_path / "old", network, old=True))
    save_tokenizer(found["taming"], tmp_path / "own.safetensors", {})
    found["own"] = load.read(tmp_path / "own.safetensors")
    first = found.pop("taming")
    latents = first.latents(x)
    tokens = first.quantize.assign(latents)
    codes = torch.nn.functional.embedding(tokens, first.quantize.codes)
    assert tokens.unique().numel() > 10
    for model in found.values():
        assert torch.equal(model.latents(x), latents)
        assert torch.equal(model.quantize.assign(latents), tokens)
        assert torch.equal(model.decode(codes), first.decode(codes))
        assert model.architecture.local is not network.attention
        ranged = model.architecture.model_copy(update={"pixel_range": "-1..1"})
        assert ranged == first.architecture


def same_tokens(model: VQGAN, latents: torch.Tensor, published: torch.Tensor) -> None:
    """The nearest codes in float64, which published quantisers miss on a near tie."""
    latents = latents.permute(0, 2, 3, 1)
    flat = latents.flatten(0, 2).double()
    exact = torch.cdist(flat, model.quantize.codes.double()).argmin(dim=1)
    assert torch.equal(model.quantize.assign(latents).flatten(), exact)
    assert (published == exact).double().mean() > 0.99


@pytest.mark.parametrize("name", WRITERS)
def test_it_computes_what_the_published_classes_do(name, network, x, tmp_path):
    model = load.read(WRITERS[name](tmp_path, network)).double()
    network, x = copy.deepcopy(network).double(), x.double()
    latents = network.latents(x)
    torch.testing.assert_close(model.latents(x).permute(0, 3, 1, 2), latents, rtol=1e-9, atol=1e-9)
    codes, _, (_, _, tokens) = network.quantize(latents)
    same_tokens(model, latents, tokens)
    torch.testing.assert_close(
        model.decode(codes.permute(0, 2, 3, 1)),
        network.decoder(network.post_quant_conv(codes)),
        rtol=1e-9,
        atol=1e-9,
    )


@pytest.mark.parametrize("name", WRITERS)
def test_the_range_of_the_pixels_is_that_of_the_layout(name, plain, tmp_path):
    model = load.read(WRITERS[name](tmp_path, plain))
    assert model.architecture.pixel_range == RANGES[name]
    ends = model.pixels(torch.tensor([0, 255], dtype=torch.uint8)).tolist()
    assert ends == ([-1.0, 1.0] if RANGES[name] == "-1..1" else [0.0, 1.0])


def test_it_comes_native_not_calibrated_and_without_gradients(plain, tmp_path):
    model = load.read(write_openmuse(tmp_path, plain))
    assert not model.calibrated
    assert not model.training
    assert not any(norm.frozen for norm in model.norms)
    assert not any(weight.requires_grad for weight in model.parameters())


def test_gumbel_tokens_are_the_highest_scores_and_never_sampled(x, tmp_path):
    network = Published(attention=True, gumbel=True)
    model = load.read(write_taming(tmp_path, network))
    latents = network.latents(x)
    scores = network.quantize.proj(latents)
    expected = scores.argmax(dim=1)
    tokens = model.quantize.assign(latents.permute(0, 2, 3, 1))
    assert torch.equal(tokens, expected)
    rgb = ((x + 1) * 127.5).byte()
    assert torch.equal(model.tokens(rgb), model.tokens(rgb))
    sampled = network.quantize(latents)[2][2]
    assert not torch.equal(sampled, expected)  # taming's own evaluation adds noise
    code = torch.nn.functional.embedding(tokens, model.quantize.codes)
    assert torch.equal(code[0, 1, 2], network.quantize.embed.weight[expected[0, 1, 2]])


def test_weights_of_half_precision_become_fp32(plain, x, tmp_path):
    write_diffusers(tmp_path, plain)
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    save_file({name: weight.half() for name, weight in load_file(path).items()}, path)
    model = load.read(tmp_path)
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    torch.testing.assert_close(
        model.latents(x).permute(0, 3, 1, 2), plain.latents(x), rtol=0.05, atol=0.05
    )


def test_the_published_lvm_and_taming_architectures(tmp_path):
    """What the files of the two best known tokenizers say, without their weights."""
    lvm = {
        "_class_name": "VQGANModel",
        "attn_resolutions": [],
        "channel_mult": [1, 2, 2, 4, 6],
        "hidden_channels": 128,
        "no_attn_mid_block": True,
        "num_embeddings": 8192,
        "quantized_embed_dim": 64,
        "z_channels": 64,
    }
    (tmp_path / "config.json").write_text(json.dumps(lvm))
    read = load.openmuse.configuration(tmp_path / "config.json")
    found = load.openmuse.architecture(read, load.openmuse.pixel_range(read))
    assert (found.downscale, found.local, found.halo) == (16, True, 224)
    assert (found.codebook, found.dimension, found.latent) == (8192, 64, None)
    imagenet = yaml_of(Published(attention=True))
    imagenet["model"]["params"]["ddconfig"] |= {
        "ch": 128,
        "ch_mult": [1, 1, 2, 2, 4],
        "attn_resolutions": [16],
        "z_channels": 256,
    }
    imagenet["model"]["params"] |= {"embed_dim": 256, "n_embed": 16384}
    (tmp_path / "model.yaml").write_text(yaml.safe_dump(imagenet))
    read = load.taming.configuration(tmp_path / "model.yaml")
    found = load.taming.architecture(read, "-1..1")
    assert (found.attention, found.middle_attention, found.local) == ((4,), True, False)
    with torch.device("meta"):
        model = VQGAN(found)
    assert sum(w.numel() for w in model.encoder.parameters()) == pytest.approx(29.3e6, rel=0.01)
    assert sum(w.numel() for w in model.decoder.parameters()) == pytest.approx(42.4e6, rel=0.01)


def test_diffusers_own_class_encodes_to_the_same_latents(x, tmp_path):
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    published = diffusers.VQModel(
        block_out_channels=(32, 64, 96),
        layers_per_block=2,
        latent_channels=6,
        vq_embed_dim=5,
        down_block_types=("DownEncoderBlock2D",) * 2 + ("AttnDownEncoderBlock2D",),
        up_block_types=("AttnUpDecoderBlock2D",) + ("UpDecoderBlock2D",) * 2,
        num_vq_embeddings=40,
    ).eval()
    published.save_pretrained(tmp_path)
    model, published, x = load.read(tmp_path, "-1..1").double(), published.double(), x.double()
    with torch.no_grad():
        latents = published.encode(x).latents
        codes, _, (_, _, tokens) = published.quantize(latents)
        decoded = published.decode(latents).sample
    torch.testing.assert_close(model.latents(x).permute(0, 3, 1, 2), latents, rtol=1e-9, atol=1e-9)
    same_tokens(model, latents, tokens)
    again = model.decode(codes.permute(0, 2, 3, 1))
    torch.testing.assert_close(again, decoded, rtol=1e-9, atol=1e-9)


# Nothing is run


class Evil:
    """Unpickles to a call."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


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


# Mistakes


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


def test_a_range_that_the_layout_does_not_tell_must_be_given(plain, tmp_path):
    write_diffusers(tmp_path, plain)
    edited(tmp_path / "config.json", lambda data: data.update(lookup_from_codebook=False))
    assert "does not tell the range of its pixels; set tokenizer.pixel_range" in refusal(tmp_path)
    for given in ("-1..1", "0..1"):
        assert load.read(tmp_path, given).architecture.pixel_range == given


@pytest.mark.parametrize("name", [*WRITERS, "own"])
def test_a_range_against_the_layout_is_refused(name, plain, tmp_path):
    path = WRITERS.get(name, write_taming)(tmp_path / "a", plain)
    if name == "own":
        save_tokenizer(load.read(path), tmp_path / "own.safetensors", {})
        path = tmp_path / "own.safetensors"
    told = RANGES.get(name, "-1..1")
    wrong = "0..1" if told == "-1..1" else "-1..1"
    assert f"(found {wrong}; allowed {told})" in refusal(path, pixel_range=wrong)
    assert load.read(path, told).architecture.pixel_range == told


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


def test_another_downscale_than_the_configuration_says_is_told_as_such(plain, tmp_path):
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


# Which files


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


# Calibrated or not


def test_the_tokenizer_file_tells_whether_it_is_calibrated(plain, x, tmp_path):
    model = load.read(write_openmuse(tmp_path / "a", plain))
    save_tokenizer(model, tmp_path / "native.safetensors", {})
    rgb = ((x + 1) * 127.5).byte()
    calibrate(model, [rgb[0].permute(1, 2, 0).numpy()], 1e-3)
    save_tokenizer(model, tmp_path / "frozen.safetensors", {})
    native, frozen = (
        load_tokenizer(tmp_path / f"{name}.safetensors") for name in ("native", "frozen")
    )
    assert (native.calibrated, frozen.calibrated) == (False, True)
    assert not any(norm.frozen for norm in native.norms)
    assert all(norm.frozen for norm in frozen.norms)
    assert tokenizer_digest(native) != tokenizer_digest(frozen)
    with pytest.raises(HolohistoError, match=r"calibrated.*found one never calibrated"):
        encoder_for(native, "frozen")
    encoder_for(native, "window")
    encoder_for(frozen, "frozen")
    assert torch.equal(frozen.latents(x), model.latents(x))
    assert not torch.equal(native.latents(x[..., :40]), frozen.latents(x[..., :40]))


# Attention


def attention_blocks(channels: int) -> tuple[AttnBlock, ChunkedAttention]:
    torch.manual_seed(0)
    published = AttnBlock(channels).eval().requires_grad_(False)
    ours = ChunkedAttention(channels, 32).eval().requires_grad_(False)
    ours.load_state_dict(ours.state_dict() | published.state_dict())
    return published, ours


@pytest.mark.parametrize("size", [(1, 1), (7, 13), (33, 65)])  # 2145 positions: three chunks
def test_attention_in_chunks_is_tamings(size):
    published, ours = attention_blocks(64)
    pixels = 3 * torch.randn(2, 64, *size)
    torch.testing.assert_close(ours(pixels), published(pixels), rtol=1e-5, atol=1e-5)


GROWTH = """
import resource, torch
from holohisto.tokenizer.attention import ChunkedAttention
block = ChunkedAttention(32, 32).eval().requires_grad_(False)
block(torch.randn(1, 32, 32, 32))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
block(torch.randn(1, 32, 96, 128))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_attention_does_not_keep_all_pairs_of_positions():
    done = subprocess.run(
        [sys.executable, "-c", GROWTH], check=True, capture_output=True, text=True
    )
    pairs = 4 * (96 * 128) ** 2 / 1024  # KiB in fp32
    assert int(done.stdout) < 0.25 * pairs


# The verb


SMALL = {"ch_mult": [1, 1, 1, 1, 1], "num_res_blocks": 1}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """A folder with one slide, checked and with its foreground, and a sheet for each split."""
    folder = tmp_path_factory.mktemp("cohort")
    y, x = np.mgrid[:530, :700]
    rgb = np.full((530, 700, 3), 244, np.uint8)
    rgb[((x - 350) / 280) ** 2 + ((y - 265) / 210) ** 2 < 1] = (214, 140, 190)
    rgb[(x // 12 + y // 12) % 3 == 0] = (150, 80, 140)
    write_slide_pyramid(folder / "a.tif", rgb, 0.5)
    results = Results(folder)
    for split in ("train", "predict"):
        row = f"a\t{folder / 'a.tif'}\t{split}\t{folder / 'a.tif' if split == 'train' else ''}\n"
        (folder / f"{split}.tsv").write_text("slide\timage\tsplit\tannotation\n" + row)
    verb(
        "check",
        folder / "a.tif",
        "--slide",
        "a",
        "--classes",
        '{"glomerulus": {}}',
        "--output",
        results.record("a"),
    )
    verb(
        "foreground",
        folder / "a.tif",
        "--record",
        results.record("a"),
        "--foreground",
        results.foreground("a"),
        "--picture",
        folder / "a.jpg",
    )
    return folder


def verb(*arguments: object) -> None:
    assert cli.main([str(argument) for argument in arguments]) == 0


def tokenizer_of(cohort: Path, folder: Path, checkpoint: Path, split: str = "train"):
    """What the verb `tokenizer` makes of a checkpoint, and the header of its file."""
    options = {"checkpoint": str(checkpoint), "tile": 64, "calibration_tiles": 3}
    verb(
        "tokenizer",
        "--sheet",
        cohort / f"{split}.tsv",
        "--results",
        cohort,
        "--options",
        json.dumps(options),
        "--tokenizer",
        folder / "t.safetensors",
        "--table",
        folder / "t.tsv",
        "--picture",
        folder / "t.jpg",
    )
    with safe_open(folder / "t.safetensors", framework="pt") as file:
        return load_tokenizer(folder / "t.safetensors"), file.metadata()


def test_a_local_tokenizer_is_frozen_at_the_statistics_of_training_tissue(cohort, tmp_path):
    given = write_openmuse(tmp_path / "given", Published(**SMALL))
    model, header = tokenizer_of(cohort, tmp_path, given)
    assert model.calibrated
    assert all(norm.frozen for norm in model.norms)
    assert model.architecture.pixel_range == "0..1"
    summary = json.loads(header["summary"])
    assert summary["origin"] == "checkpoint given"
    assert 0 < summary["frozen_native_agreement"] <= 1
    where = argparse.Namespace(sheet=cohort / "train.tsv", results=Results(cohort))
    tiles = torch.from_numpy(np.stack([TissueTiles(where).tile(n, 64, 0) for n in range(3)]))
    features = model.encoder.conv_in(model.pixels(tiles.permute(0, 3, 1, 2))).double()
    statistics = torch.var_mean(features, dim=(0, 2, 3), correction=0)  # 32 channels, 32 groups
    torch.testing.assert_close(model.norms[0].variance.double(), statistics[0])
    torch.testing.assert_close(model.norms[0].mean.double(), statistics[1])


def test_training_tiles_come_in_looks_of_their_own(cohort):
    where = argparse.Namespace(sheet=cohort / "train.tsv", results=Results(cohort))
    source, looks = TissueTiles(where), Strength(0.5, 0.2, 0.0)
    plain = [source.tile(n, 64, 0) for n in range(6)]
    changed = [source.tile(n, 64, 0, looks) for n in range(6)]
    for n in range(6):
        assert np.array_equal(changed[n], source.tile(n, 64, 0, looks))
        colours = np.unique(plain[n].reshape(-1, 3), axis=0)
        places = [(plain[n] == colour).all(axis=2) for colour in colours]
        found = [np.unique(changed[n][place], axis=0) for place in places]
        assert all(len(colour) == 1 for colour in found)  # other colours at the same places
    difference = [np.abs(a.astype(int) - b).max() for a, b in zip(plain, changed, strict=True)]
    assert min(difference) > 3
    assert len(set(difference)) > 1


def test_a_tokenizer_with_attention_stays_native(cohort, tmp_path):
    network = Published(attention=True, **SMALL, attn_resolutions=[16])
    given = write_taming(tmp_path / "given", network)
    model, header = tokenizer_of(cohort, tmp_path, given)
    assert not model.calibrated
    assert not any(norm.frozen for norm in model.norms)
    assert "frozen_native_agreement" not in json.loads(header["summary"])


def test_without_training_slides_it_stays_native_until_there_are_some(cohort, tmp_path):
    given = write_openmuse(tmp_path / "given", Published(**SMALL))
    native, _ = tokenizer_of(cohort, tmp_path, given, split="predict")
    assert not native.calibrated
    (tmp_path / "later").mkdir()
    later, _ = tokenizer_of(cohort, tmp_path / "later", tmp_path / "t.safetensors")
    assert later.calibrated
    again, _ = tokenizer_of(cohort, tmp_path, tmp_path / "later" / "t.safetensors", "predict")
    assert tokenizer_digest(again) == tokenizer_digest(later)


def test_code_in_a_checkpoint_ends_the_verb_in_one_line(cohort, plain, tmp_path, capsys):
    marker = tmp_path / "marker"
    path = write_taming(tmp_path / "given", plain, records=Evil(os.system, f"touch {marker}"))
    options = json.dumps({"checkpoint": str(path)})
    arguments = [
        "tokenizer",
        "--sheet",
        cohort / "train.tsv",
        "--results",
        cohort,
        "--options",
        options,
        "--tokenizer",
        tmp_path / "t",
        "--table",
        tmp_path / "u",
        "--picture",
        tmp_path / "v",
    ]
    assert cli.main([str(argument) for argument in arguments]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if " ERROR " in line]
    assert len(errors) == 1
    assert "is refused: it asks for code" in errors[0]
    assert not marker.exists()
