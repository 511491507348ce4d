"""The cells of the paper's Table 3."""

from pathlib import Path

import pytest
import torch
from torch import nn

from holohisto.config.models import HolohistoModel
from holohisto.config.parsing import read_config
from holohisto.segmenter.card import ModelCard
from holohisto.segmenter.file import build_segmenter, load_segmenter, save_segmenter
from holohisto.segmenter.holohisto.attention.softmax import SoftmaxAttention, sine_positions

CODEBOOK = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))
ROOT = Path(__file__).parents[2]


def build(**options):
    torch.manual_seed(0)
    made = HolohistoModel(size="T", **options)
    codebook = None if made.embedding == "linear" else CODEBOOK
    return build_segmenter(made, codebook, 16, 2).eval().requires_grad_(False)


@pytest.mark.parametrize("attention", ["relu", "softmax"])
@pytest.mark.parametrize("decoder", ["tokens", "rgb"])
def test_a_linear_embedding_reads_pixels_alone(attention, decoder):
    model = build(embedding="linear", attention=attention, decoder=decoder)
    assert (model.needs_tokens, model.needs_pixels) == (False, True)
    rgb = torch.randint(0, 256, (1, 3, 67, 101), dtype=torch.uint8)
    found = model(None, rgb, (67, 101))
    assert found.shape == (1, 2, 67, 101)
    assert (found - model(None, 255 - rgb, (67, 101))).abs().max() > 1e-3


def test_a_linear_embedding_is_one_linear_map_of_each_square():
    model = build(embedding="linear")
    rgb = torch.randint(0, 256, (1, 3, 32, 48), dtype=torch.uint8)
    pixels = rgb.float() / 127.5 - 1
    square = pixels[0, :, 16:32, 32:48].reshape(-1)
    project = model.embedding.project
    by_hand = project.weight.reshape(64, -1) @ square
    torch.testing.assert_close(project(pixels)[0, :, 1, 2], by_hand)
    assert torch.equal(model.embedding(pixels), model.embedding.norm(project(pixels)))
    assert model.embedding.left_out is None


def test_softmax_attention_is_torchs_multi_head_attention():
    torch.manual_seed(0)
    layer = SoftmaxAttention(32, 8).eval()
    nn.init.normal_(layer.project[1].running_mean)
    theirs = nn.MultiheadAttention(32, 4, bias=False, batch_first=True).eval()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(layer.qkv.weight[:, :, 0, 0])
        theirs.out_proj.weight.copy_(layer.project[0].weight[:, :, 0, 0])
    x = torch.randn(2, 32, 5, 7)
    seen = (x + sine_positions(32, 5, 7, x.device)).flatten(2).transpose(1, 2)
    expected = theirs(seen, seen, seen, need_weights=False)[0].transpose(1, 2).reshape(x.shape)
    torch.testing.assert_close(layer(x), layer.project[1](expected), rtol=1e-4, atol=1e-5)


def test_every_place_has_another_position():
    places = sine_positions(32, 135, 240, torch.device("cpu")).flatten(1).T
    assert places.shape == (135 * 240, 32)
    assert len(places.unique(dim=0)) == 135 * 240
    assert places.abs().max() <= 1


@pytest.mark.parametrize(("size", "millions"), [("T", 0.745), ("S", 4.998), ("B", 30.245)])
def test_backbones_have_as_many_parameters_as_counted(size, millions):
    model = build_segmenter(HolohistoModel(size=size), torch.randn(8192, 64), 16, 1)
    parts = model.embedding, model.backbone
    found = sum(p.numel() for part in parts for p in part.parameters()) / 1e6
    assert found == pytest.approx(millions, abs=5e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"embedding": "linear"},
        {"attention": "softmax"},
        {"embedding": "linear", "decoder": "tokens"},
    ],
)
def test_files_keep_them(options, tmp_path):
    model = build(**options)
    made = HolohistoModel(size="T", **options)
    card = ModelCard("m", made, ("a", "b"), 0.5, (64, 64), None, 16, "frozen", None, {})
    save_segmenter(model.state_dict(), card, tmp_path / "m.safetensors")
    again, found, _ = load_segmenter(tmp_path / "m.safetensors")
    assert found == card
    rgb = torch.randint(0, 256, (1, 3, 48, 64), dtype=torch.uint8)
    tokens = torch.randint(0, 32, (1, 3, 4))
    assert torch.equal(again(tokens, rgb, (48, 64)), model(tokens, rgb, (48, 64)))


def test_the_table_is_a_configuration():
    """Of the rows that compare inputs and attentions, none sees pixels beside its input."""
    cfg = read_config(ROOT / "config" / "table3.yaml")
    cells = [
        (m.decoder, m.embedding, m.attention, m.sampler or "random", m.tile or cfg.train.tile)
        for m in cfg.models.values()
    ]
    whole = (256, 192)
    assert cells == [
        ("tokens", "tokens", "relu", "random", whole),
        ("tokens", "linear", "relu", "random", whole),
        ("tokens", "tokens", "softmax", "random", whole),
        ("tokens", "linear", "softmax", "random", whole),
        ("tokens", "tokens", "relu", "grid", whole),
        ("tokens", "tokens", "relu", "random", (128, 96)),
        ("rgb", "tokens", "relu", "random", whole),
    ]
    assert cfg.train.annotated_share == 0
    assert cfg.over_tokens == ["holohisto", "softmax", "grid", "half", "rgb"]
