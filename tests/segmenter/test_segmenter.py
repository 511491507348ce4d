import efficientvit
import numpy as np
import pytest
import torch
from attention_accuracy import attend, branch, require_close_at_35344_tokens
from torch import nn
from torch.nn import functional

from holohisto.config.models import ColourThresholdModel, HolohistoModel
from holohisto.errors import HolohistoError
from holohisto.runtime.arithmetic import ceil_div
from holohisto.segmenter import file
from holohisto.segmenter.baselines.threshold import Histograms, colour_features
from holohisto.segmenter.file import ModelCard, build_segmenter, load_segmenter, save_segmenter
from holohisto.segmenter.holohisto import backbone
from holohisto.segmenter.holohisto.attention import linear
from holohisto.segmenter.holohisto.attention.linear import relu_linear_attention
from holohisto.segmenter.holohisto.attention.multi_scale import MultiScaleAttention
from holohisto.segmenter.holohisto.backbone import SIZES
from holohisto.segmenter.holohisto.channel_dropout import ChannelDropout, leave_out
from holohisto.segmenter.holohisto.decoder import Join
from holohisto.training.loss import dice_bce

CODEBOOK = torch.randn(32, 6, generator=torch.Generator().manual_seed(0))


def quadratic(q, k, v):
    """The same attention with its N x N weights written out: (B, heads, N, d)."""
    weights = torch.relu(q) @ torch.relu(k).transpose(2, 3)
    return weights @ v / weights.sum(dim=3, keepdim=True)


def equation_2(q, k, v):
    """Eq. 2 token by token, with its two sums formed once."""
    kv = torch.einsum("bhjd,bhje->bhde", torch.relu(k), v)
    total = torch.relu(k).sum(dim=2)
    rows = []
    for i in range(q.shape[2]):
        upper = torch.einsum("bhd,bhde->bhe", torch.relu(q[:, :, i]), kv)
        rows.append(upper / (torch.relu(q[:, :, i]) * total).sum(dim=2, keepdim=True))
    return torch.stack(rows, dim=2)


@pytest.fixture(params=["in pieces", "joined"])
def way(request, monkeypatch):
    """Both ways to compute it: that of CPUs and that of GPUs."""
    monkeypatch.setattr(linear, "_joined", lambda x: request.param == "joined")
    return request.param


@pytest.mark.parametrize("scale", [1, 1e-4, 1e4])
def test_linear_attention_is_its_quadratic_form_and_equation_2(scale, way):
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 4, 300, 16)
    found = attend(q * scale, k * scale, v, height=15)
    exact = quadratic(q.double(), k.double(), v.double())
    torch.testing.assert_close(equation_2(q.double(), k.double(), v.double()), exact)
    torch.testing.assert_close(found, exact.float(), rtol=1e-5, atol=1e-5)


def test_attention_does_not_depend_on_chunks_or_memory_format(monkeypatch, way):
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 4, 300, 16)
    pair = [branch(q, k, v, 15), branch(k, v, q, 15)]
    whole = relu_linear_attention(pair, 16)
    torch.testing.assert_close(whole[:, 64:], relu_linear_attention(pair[1:], 16))
    monkeypatch.setattr(linear, "CHUNK", 7)
    last = [part.contiguous(memory_format=torch.channels_last) for part in pair]
    found = relu_linear_attention(last, 16)
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found, whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("last", [False, True])
def test_gradient_of_attention_is_that_of_its_quadratic_form(monkeypatch, way, last):
    monkeypatch.setattr(linear, "CHUNK", 5)
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 2, 12, 4, dtype=torch.float64)
    q[0, 0, 3] = -1  # a query without positive part
    memory_format = torch.channels_last if last else torch.contiguous_format
    x = branch(q, k, v, 3).contiguous(memory_format=memory_format).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: relu_linear_attention([x, 2 * x], 4), x)


def test_a_query_without_positive_part_gives_zero(way):
    q, k, v = torch.randn(3, 1, 1, 10, 4)
    q[0, 0, 3] = -1
    out = attend(q, k, v)
    assert (out[0, 0, 3] == 0).all()
    assert torch.isfinite(out).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_attention_is_finite_and_close_at_35344_tokens_under_autocast(dtype, way):
    if way == "joined" and dtype == torch.float16:
        pytest.skip("fp16 is never computed so")
    require_close_at_35344_tokens(dtype, "cpu")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_layer_is_finite_and_close_at_35344_tokens_under_autocast(dtype):
    torch.manual_seed(0)
    layer = MultiScaleAttention(16, 16).eval().requires_grad_(False)
    x = torch.randn(1, 16, 188, 188) * 30
    with torch.autocast("cpu", dtype):
        out = layer(x)
    exact = layer.double()(x.double())
    assert torch.isfinite(out).all()
    assert (out.double() - exact).norm() / exact.norm() < 2e-2


def test_multi_scale_attention_has_three_branches_with_a_heads_q_k_v_together():
    torch.manual_seed(0)
    layer = MultiScaleAttention(32, 16).eval()
    x = torch.randn(1, 32, 5, 7)
    branches = [layer.qkv(x)]
    branches += [aggregate(branches[0]) for aggregate in layer.aggregate]
    heads = []
    for branch_ in branches:
        for head in range(2):
            q, k, v = (
                branch_[:, 48 * head + 16 * i : 48 * head + 16 * (i + 1)].flatten(2).transpose(1, 2)
                for i in range(3)
            )
            heads.append(quadratic(q[:, None], k[:, None], v[:, None])[:, 0])
    expected = torch.cat(heads, dim=2).transpose(1, 2).reshape(1, 96, 5, 7)
    torch.testing.assert_close(layer(x), layer.project(expected), rtol=1e-3, atol=1e-4)


def litemla():
    """A layer of two heads of one channel in EfficientViT's names and layout, scale 5."""
    x0, x1 = [1.0, 0.0], [0.0, 1.0]
    qkv = [x0, x1, x0, [-1.0, 0.0], x0, x1]  # q, k, v of head 0, then q, k, v of head 1
    depthwise = torch.zeros(6, 1, 5, 5)
    depthwise[:, :, 2, 2] = 1  # as it is, but
    depthwise[2, 0, 2, 2], depthwise[2, 0, 2, 3] = 0, 1  # v of head 0 is its right neighbour's
    mix = torch.ones(6, 1, 1, 1)
    mix[5] = 3  # v of head 1 is three times as large
    # of the heads raw 0, raw 1, scale 0, scale 1
    project = [[1.0, 0.0, 0.0, 10.0], [0.0, 1.0, -8.0, 0.0]]
    return {
        "qkv.conv.weight": torch.tensor(qkv)[:, :, None, None],
        "aggreg.0.0.weight": depthwise,
        "aggreg.0.1.weight": mix,
        "proj.conv.weight": torch.tensor(project)[:, :, None, None],
        "proj.norm.weight": torch.tensor([2.0, 1.0]),
        "proj.norm.bias": torch.tensor([0.0, 5.0]),
        "proj.norm.running_mean": torch.tensor([1.0, 0.0]),
        "proj.norm.running_var": torch.tensor([4 - 1e-5, 1 - 1e-5]),
        "proj.norm.num_batches_tracked": torch.tensor(1),
    }


def test_efficientvits_weights_give_what_is_computed_by_hand():
    """By hand, with x0 = (1, 2, -1) and x1 = (1, 3, 4) at three positions.

    raw 0:   relu(k) = x1, v = x0: 3/8 where q = x0 > 0                      (3/8, 3/8, 0)
    raw 1:   relu(k) = (1, 2, 0), v = x1: 7/3 where q = -x0 > 0              (0, 0, 7/3)
    scale 0: relu(k) = x1, v = (2, -1, 0): -1/8 where x0 > 0                 (-1/8, -1/8, 0)
    scale 1: relu(k) = (1, 2, 0), v = 3 x1: 7 where -x0 > 0                  (0, 0, 7)
    projected: (3/8, 3/8, 70) and (1, 1, 7/3); then (y - 1) / 2 * 2 and y + 5.
    """
    layer = efficientvit.attention_from(litemla()).eval()
    out = layer(torch.tensor([[1.0, 2.0, -1.0], [1.0, 3.0, 4.0]])[None, :, None])
    expected = torch.tensor([[-5 / 8, -5 / 8, 69.0], [6.0, 6.0, 5 + 7 / 3]])
    torch.testing.assert_close(out[0, :, 0], expected)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("proj.conv.bias", r"no such weight \(found proj.conv.bias"),
        ("qkv.conv.weight", "weights are of no such layer.*qkv"),
    ],
)
def test_weights_of_another_layer_are_refused(name, message):
    weights = litemla()
    if weights.pop(name, None) is None:
        weights[name] = torch.zeros(2)
    with pytest.raises(HolohistoError, match=message):
        efficientvit.attention_from(weights)


@pytest.mark.parametrize("decoder", ["tokens", "rgb"])
@pytest.mark.parametrize("size", [(64, 96), (67, 101), (16, 16), (270, 480)])
def test_output_size_is_input_size(decoder, size):
    model = build_segmenter(HolohistoModel(size="T", decoder=decoder), CODEBOOK, 16, 3).eval()
    tokens = torch.randint(0, 32, (1, ceil_div(size[0], 16), ceil_div(size[1], 16)))
    rgb = torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8)
    assert model(tokens, rgb if decoder == "rgb" else None, size).shape == (1, 3, *size)


@pytest.mark.parametrize("decoder", ["tokens", "rgb"])
@pytest.mark.parametrize(
    ("width", "height"),
    [(3840, 2160), (2048, 1080), (3000, 3000), (640, 516), (1001, 777), (37, 21), (7, 5)],
)
def test_every_size_works(decoder, width, height, monkeypatch):
    """Sides that 16 or 32 do not divide, and pictures smaller than a tile, than a token."""
    narrow = backbone.Size(8, 16, 1, 1, 8, 8, (4, 4, 4), (8, 4, 4))
    monkeypatch.setitem(SIZES, "T", narrow)
    model = build_segmenter(HolohistoModel(size="T", decoder=decoder), CODEBOOK, 16, 2).eval()
    tokens = torch.randint(0, 32, (1, ceil_div(height, 16), ceil_div(width, 16)))
    rgb = torch.randint(0, 256, (1, 3, height, width), dtype=torch.uint8)
    with torch.no_grad():
        logits = model(tokens, rgb if decoder == "rgb" else None, (height, width))
    assert logits.shape == (1, 2, height, width)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("decoder", ["rgb", "tokens"])
def test_working_in_place_without_gradients_changes_nothing(decoder):
    torch.manual_seed(3)
    model = build_segmenter(HolohistoModel(size="T", decoder=decoder), CODEBOOK, 16, 1).eval()
    tokens = torch.randint(0, 32, (2, 7, 9))
    rgb = torch.randint(0, 256, (2, 3, 101, 131), dtype=torch.uint8)
    given = tokens.clone(), rgb.clone()
    with_gradients = model(tokens, rgb, (101, 131))
    with torch.no_grad():
        without = model(tokens, rgb, (101, 131))
    assert with_gradients.requires_grad
    assert torch.equal(without, with_gradients)
    assert torch.equal(tokens, given[0])
    assert torch.equal(rgb, given[1])


def test_stage_two_sees_far_beyond_the_kernels():
    torch.manual_seed(0)
    model = build_segmenter(HolohistoModel(size="T", decoder="tokens"), CODEBOOK, 16, 1).eval()
    tokens = torch.randint(0, 32, (1, 30, 40))
    changed = tokens.clone()
    changed[0, 0, 0] = (changed[0, 0, 0] + 1) % 32
    difference = (model(tokens, None, (480, 640)) - model(changed, None, (480, 640))).abs()
    assert difference[0, 0, -16:, -16:].max() > 0


def test_the_backbone_sees_pixels_beside_tokens():
    torch.manual_seed(0)
    model = build_segmenter(HolohistoModel(size="T"), CODEBOOK, 16, 1).eval()
    tokens = torch.randint(0, 32, (1, 30, 40))
    rgb = torch.randint(0, 256, (1, 3, 480, 640), dtype=torch.uint8)
    changed = rgb.clone()
    changed[:, :, :16, :16] = 255 - changed[:, :, :16, :16]
    difference = (model(tokens, rgb, (480, 640)) - model(tokens, changed, (480, 640))).abs()
    assert difference[0, 0, -16:, -16:].max() > 0  # far beyond the decoder's kernels


def test_a_token_left_out_is_the_mean_code():
    model = build_segmenter(HolohistoModel(size="T", decoder="tokens"), CODEBOOK, 16, 1)
    codes = model._codes(torch.tensor([[[3, -1], [-1, 7]]]))
    torch.testing.assert_close(codes[0, 0, 0], model.codebook[3])
    torch.testing.assert_close(codes[0, 1, 1], model.codebook[7])
    assert (codes[0, 0, 1] == 0).all()
    torch.testing.assert_close(model.codebook.mean(dim=0), torch.zeros(6), atol=1e-6, rtol=0)


@pytest.mark.parametrize("downscale", [8, 16, 32])
def test_tokens_of_other_sizes(downscale):
    model = build_segmenter(HolohistoModel(size="T"), CODEBOOK, downscale, 1).eval()
    height, width = 101, 203
    tokens = torch.randint(0, 32, (1, ceil_div(height, downscale), ceil_div(width, downscale)))
    rgb = torch.randint(0, 256, (1, 3, height, width), dtype=torch.uint8)
    assert model(tokens, rgb, (height, width)).shape == (1, 1, height, width)


def test_joining_is_a_convolution_over_both():
    torch.manual_seed(0)
    join = Join(6, 4, 5).eval()
    coarse, fine = torch.randn(2, 6, 5, 7), torch.randn(2, 4, 9, 13)
    both = torch.cat([functional.interpolate(coarse, size=(9, 13), mode="bilinear"), fine], dim=1)
    weight = torch.cat([join.coarse.weight, join.fine.weight], dim=1)
    expected = join.finish(functional.conv2d(both, weight))
    torch.testing.assert_close(join(coarse, fine), expected)


def test_pixels_matter_to_the_rgb_decoder_only():
    tokens = torch.randint(0, 32, (1, 4, 6))
    rgb = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8)
    models = {
        name: build_segmenter(HolohistoModel(size="T", decoder=name), CODEBOOK, 16, 1).eval()
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
            p.numel()
            for p in build_segmenter(HolohistoModel(size=size), CODEBOOK, 16, 1).parameters()
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
    return ModelCard(
        "m", options, ("a", "b"), 0.5, (640, 480), "digest", 16, "frozen", {"epochs": 3}
    )


@pytest.mark.parametrize(
    "options", [HolohistoModel(size="T", decoder="tokens"), ColourThresholdModel()]
)
def test_file_keeps_weights_and_card(options, tmp_path):
    torch.manual_seed(0)
    model = build_segmenter(options, CODEBOOK, 16, 2).eval()
    save_segmenter(model.state_dict(), card(options), tmp_path / "s.safetensors")
    again, found, _ = load_segmenter(tmp_path / "s.safetensors")
    assert found == card(options)
    tokens = torch.randint(0, 32, (1, 3, 4))
    rgb = torch.randint(0, 256, (1, 3, 48, 64), dtype=torch.uint8)
    assert torch.equal(again(tokens, rgb, (48, 64)), model(tokens, rgb, (48, 64)))


def test_a_damaged_segmenter_is_refused(tmp_path):
    path = tmp_path / "s.safetensors"
    model = build_segmenter(ColourThresholdModel(), None, 1, 2)
    save_segmenter(model.state_dict(), card(ColourThresholdModel()), path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 0x40
    path.write_bytes(bytes(content))
    with pytest.raises(HolohistoError, match="damaged"):
        load_segmenter(path)


@pytest.mark.parametrize("attention", ["relu", "softmax"])
def test_blocks_computed_again_change_nothing_but_memory(attention):
    def passed(recompute: bool) -> tuple[dict[str, torch.Tensor], int]:
        torch.manual_seed(5)
        model = backbone.Backbone(nn.Conv2d(8, 64, 1), SIZES["T"], attention)
        model.activation_checkpointing = recompute
        kept: dict[int, int] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            out = model(torch.rand(2, 8, 33, 21))
        out.square().mean().backward()
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        return {**gradients, **model.state_dict(), "out": out}, sum(kept.values())

    (whole, much), (again, little) = passed(False), passed(True)
    assert whole.keys() == again.keys()
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert little < 0.5 * much


def test_a_segmenter_file_of_another_format_is_refused(tmp_path, monkeypatch):
    model = build_segmenter(ColourThresholdModel(), None, 1, 1)
    card = ModelCard("m", ColourThresholdModel(), ("a",), 0.5, (64, 64), None, 1, "frozen", {})
    monkeypatch.setattr(file, "FORMAT", "holohisto-segmenter-2")
    save_segmenter(model.state_dict(), card, tmp_path / "old.safetensors")
    monkeypatch.undo()
    with pytest.raises(HolohistoError, match=r"is not a HoloHisto segmenter.*segmenter-2"):
        load_segmenter(tmp_path / "old.safetensors")


def test_channels_left_out_follow_from_the_samples_seed():
    """Not from what else is in the batch, nor from torch's random state; the mean stays."""
    layer = ChannelDropout()
    x = torch.ones(3, 400, 2, 5)
    assert torch.equal(layer(x), x)
    leave_out(layer, 0.2, [7, 8, 9])
    first, second = layer(x), layer(x)
    left_out = (first == 0).all(dim=(2, 3))  # (3, 400)
    assert torch.equal(first, 1.25 * (~left_out[:, :, None, None] * x))
    assert (left_out.float().mean(dim=1) - 0.2).abs().max() < 0.06
    assert first.mean().item() == pytest.approx(1, abs=0.05)
    assert not torch.equal(first, second)
    assert len({tuple(row.tolist()) for row in left_out}) == 3
    leave_out(layer, 0.2, [8])
    torch.manual_seed(5)
    assert torch.equal(layer(x[:1])[0], first[1])
    assert torch.equal(layer(x[:1])[0], second[1])
    leave_out(layer, 0.2, [1, 2, 3])
    assert torch.equal(layer.eval()(x), x)


def test_a_segmenter_leaves_channels_out_while_it_is_trained():
    torch.manual_seed(0)
    model = build_segmenter(HolohistoModel(size="T"), CODEBOOK, 16, 1)
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    tokens, rgb = torch.randint(32, (1, 4, 6)), torch.randint(256, (1, 3, 64, 96)).byte()

    def logits(share, seed):
        leave_out(model.train(), share, [seed])
        for norm in norms:  # so that nothing else differs between training and use
            norm.eval()
        return model(tokens, rgb, size=(64, 96))

    assert torch.equal(logits(0.5, 1), logits(0.5, 1))
    assert not torch.equal(logits(0.5, 1), logits(0.5, 2))
    torch.testing.assert_close(logits(0.0, 1), model.eval()(tokens, rgb, size=(64, 96)))
