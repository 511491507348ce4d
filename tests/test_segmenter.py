import numpy as np
import pytest
import torch
from torch.nn import functional

from holohisto.config import HolohistoModel, ThresholdModel
from holohisto.errors import HolohistoError
from holohisto.segmenter import store
from holohisto.segmenter.attention import MultiScaleAttention, relu_linear_attention
from holohisto.segmenter.backbone import SIZES
from holohisto.segmenter.loss import dice_bce
from holohisto.segmenter.threshold import Histograms, colour_features

CODEBOOK = torch.randn(32, 6, generator=torch.Generator().manual_seed(0))


def quadratic(q, k, v):
    """The same attention with its N x N weights written out."""
    weights = torch.relu(q) @ torch.relu(k).transpose(2, 3)
    return weights @ v / weights.sum(dim=3, keepdim=True)


def test_linear_attention_is_its_quadratic_form():
    q, k, v = torch.randn(3, 2, 4, 300, 16)
    torch.testing.assert_close(
        relu_linear_attention(q, k, v), quadratic(q, k, v), rtol=1e-4, atol=1e-5
    )


def test_a_query_without_positive_part_gives_zero():
    q, k, v = torch.randn(3, 1, 1, 10, 4)
    q[0, 0, 3] = -1
    out = relu_linear_attention(q, k, v)
    assert (out[0, 0, 3] == 0).all()
    assert torch.isfinite(out).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_attention_is_finite_and_close_at_35344_tokens(dtype):
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 1, 2, 35_344, 16) * 4
    exact = relu_linear_attention(q.to(dtype).double(), k.to(dtype).double(), v.to(dtype).double())
    out = relu_linear_attention(q.to(dtype), k.to(dtype), v.to(dtype))
    assert torch.isfinite(out).all()
    assert (out.double() - exact).norm() / exact.norm() < 1e-2


def test_multi_scale_attention_has_three_branches_with_a_heads_q_k_v_together():
    torch.manual_seed(0)
    layer = MultiScaleAttention(32, 16).eval()
    x = torch.randn(1, 32, 5, 7)
    branches = [layer.qkv(x)]
    branches += [aggregate(branches[0]) for aggregate in layer.aggregate]
    heads = []
    for branch in branches:
        for head in range(2):
            q, k, v = (
                branch[:, 48 * head + 16 * i : 48 * head + 16 * (i + 1)].flatten(2).transpose(1, 2)
                for i in range(3)
            )
            heads.append(quadratic(q[:, None], k[:, None], v[:, None])[:, 0])
    expected = torch.cat(heads, dim=2).transpose(1, 2).reshape(1, 96, 5, 7)
    torch.testing.assert_close(layer(x), layer.project(expected), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("decoder", ["tokens", "rgb"])
@pytest.mark.parametrize("size", [(64, 96), (67, 101), (16, 16), (270, 480)])
def test_output_size_is_input_size(decoder, size):
    model = store.build(HolohistoModel(size="T", decoder=decoder), CODEBOOK, 16, 3).eval()
    tokens = torch.randint(0, 32, (1, -(-size[0] // 16), -(-size[1] // 16)))
    rgb = torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8)
    assert model(tokens, rgb if decoder == "rgb" else None, size).shape == (1, 3, *size)


def test_stage_two_sees_far_beyond_the_kernels():
    torch.manual_seed(0)
    model = store.build(HolohistoModel(size="T", decoder="tokens"), CODEBOOK, 16, 1).eval()
    tokens = torch.randint(0, 32, (1, 30, 40))
    changed = tokens.clone()
    changed[0, 0, 0] = (changed[0, 0, 0] + 1) % 32
    difference = (model(tokens, None, (480, 640)) - model(changed, None, (480, 640))).abs()
    assert difference[0, 0, -16:, -16:].max() > 0


def test_pixels_matter_to_the_rgb_decoder_only():
    tokens = torch.randint(0, 32, (1, 4, 6))
    rgb = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8)
    models = {
        name: store.build(HolohistoModel(size="T", decoder=name), CODEBOOK, 16, 1).eval()
        for name in ("tokens", "rgb")
    }
    moved = {
        name: (model(tokens, rgb, (64, 96)) - model(tokens, 255 - rgb, (64, 96))).abs().max()
        for name, model in models.items()
    }
    assert moved["tokens"] == 0 < moved["rgb"]
    assert not models["tokens"].needs_pixels
    assert models["rgb"].needs_pixels


def test_larger_sizes_have_more_parameters():
    count = {
        size: sum(
            p.numel() for p in store.build(HolohistoModel(size=size), CODEBOOK, 16, 1).parameters()
        )
        for size in SIZES
    }
    assert 0.5e6 < count["T"] < 1e6 < 4.5e6 < count["S"] < 6e6


def test_loss_counts_known_pixels_and_classes_only():
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 8, 9)
    target = torch.rand(2, 3, 8, 9) > 0.5
    known = torch.ones_like(target)
    known[:, 1] = False
    known[0, :, :4] = False
    loss = dice_bce(logits, target, known)
    flipped = torch.where(known, target, ~target)
    assert torch.equal(dice_bce(logits, flipped, known), loss)
    parts = []
    for c in (0, 2):
        area = known[:, c]
        p, t = logits[:, c][area].sigmoid(), target[:, c][area].float()
        dice = 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)
        parts.append(dice + functional.binary_cross_entropy(p, t))
    torch.testing.assert_close(loss, sum(parts) / 2)
    assert dice_bce(logits, target, torch.zeros_like(known)) == 0


def test_threshold_finds_the_feature_that_separates():
    random = np.random.default_rng(0)
    target = np.zeros((1, 1, 64, 96), bool)
    target[..., 10:40, 20:60] = True
    rgb = random.integers(100, 200, (1, 3, 64, 96), dtype=np.uint8)
    rgb[:, 1][target[:, 0]] = random.integers(20, 60, target.sum(), dtype=np.uint8)
    histograms = Histograms(1)
    histograms.add(
        torch.from_numpy(rgb), torch.from_numpy(target), torch.ones(1, 1, 64, 96, dtype=torch.bool)
    )
    model = histograms.best()
    found = model(None, torch.from_numpy(rgb), (64, 96)) >= 0
    truth = torch.from_numpy(target)
    dice = 2 * (found & truth).sum() / (found.sum() + truth.sum())
    assert dice > 0.99
    assert "below" in model.describe(0)


def test_threshold_of_a_class_never_seen_finds_nothing():
    rgb = torch.randint(0, 256, (1, 3, 32, 48), dtype=torch.uint8)
    target = torch.zeros(1, 2, 32, 48, dtype=torch.bool)
    target[:, 0, 5:20] = True
    histograms = Histograms(2)
    histograms.add(rgb, target, torch.ones_like(target))
    found = histograms.best()(None, rgb, (32, 48)) >= 0
    assert found[:, 0].any()
    assert not found[:, 1].any()


def test_colour_features_of_known_pixels():
    rgb = torch.tensor([[255, 0], [0, 255], [0, 0]], dtype=torch.uint8).reshape(1, 3, 1, 2)
    found = colour_features(rgb)
    assert found[0, 0].flatten().tolist() == [1, 0]
    torch.testing.assert_close(found[0, 4].flatten(), torch.ones(2), atol=2e-3, rtol=0)


def card(options):
    return store.Card("m", options, ("a", "b"), 0.5, (640, 480), "digest", 16, {"epochs": 3})


@pytest.mark.parametrize("options", [HolohistoModel(size="T", decoder="tokens"), ThresholdModel()])
def test_file_keeps_weights_and_card(options, tmp_path):
    torch.manual_seed(0)
    model = store.build(options, CODEBOOK, 16, 2).eval()
    store.save(model.state_dict(), card(options), tmp_path / "s.safetensors")
    again, found, _ = store.load(tmp_path / "s.safetensors")
    assert found == card(options)
    tokens = torch.randint(0, 32, (1, 3, 4))
    rgb = torch.randint(0, 256, (1, 3, 48, 64), dtype=torch.uint8)
    assert torch.equal(again(tokens, rgb, (48, 64)), model(tokens, rgb, (48, 64)))


def test_a_damaged_segmenter_is_refused(tmp_path):
    path = tmp_path / "s.safetensors"
    model = store.build(ThresholdModel(), None, 1, 2)
    store.save(model.state_dict(), card(ThresholdModel()), path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 0x40
    path.write_bytes(bytes(content))
    with pytest.raises(HolohistoError, match="damaged"):
        store.load(path)
