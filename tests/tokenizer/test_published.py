"""Published tokenizers: every layout gives the same network."""

import copy
import json

import pytest
import torch
import yaml
from checkpoint_files import (
    RANGES,
    WRITERS,
    Published,
    write_diffusers,
    write_openmuse,
    write_taming,
    yaml_of,
)
from safetensors.torch import load_file, save_file

from holohisto.tokenizer.file import save_tokenizer
from holohisto.tokenizer.norm import Statistics
from holohisto.tokenizer.published import load
from holohisto.tokenizer.vqgan import VQGAN


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


def test_it_comes_with_native_statistics_and_without_gradients(plain, tmp_path):
    model = load.read(write_openmuse(tmp_path, plain))
    assert not model.training
    assert all(norm.statistics is Statistics.NATIVE for norm in model.norms)
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
