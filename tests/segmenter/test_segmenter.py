"""The HoloHisto segmenter: sizes, context, tokens and pixels, activation checkpointing."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional

from holohisto.config.models import HolohistoModel
from holohisto.runtime.arithmetic import ceil_div
from holohisto.segmenter.file import build_segmenter
from holohisto.segmenter.holohisto import backbone, norm
from holohisto.segmenter.holohisto.backbone import SIZES
from holohisto.segmenter.holohisto.decoder import Join

CODEBOOK = torch.randn(32, 6, generator=torch.Generator().manual_seed(0))


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


@torch.no_grad()
def test_pixels_reach_the_decoder_only():
    """A changed square of pixels changes logits as far as small kernels reach, a token beyond."""
    torch.manual_seed(0)
    model = build_segmenter(HolohistoModel(size="T"), CODEBOOK, 16, 1).eval()
    tokens = torch.randint(0, 32, (1, 30, 40))
    rgb = torch.randint(0, 256, (1, 3, 480, 640), dtype=torch.uint8)
    other_pixels, other_tokens = rgb.clone(), tokens.clone()
    other_pixels[:, :, :16, :16] = 255 - other_pixels[:, :, :16, :16]
    other_tokens[0, 0, 0] = (other_tokens[0, 0, 0] + 1) % 32
    features = []
    model.backbone.register_forward_hook(lambda module, given, out: features.append(out))
    logits = [
        model(*given, (480, 640))[0, 0]
        for given in ((tokens, rgb), (tokens, other_pixels), (other_tokens, rgb))
    ]
    of_pixels, of_tokens = ((logits[0] - other).abs() for other in logits[1:])
    assert torch.equal(features[0], features[1])
    assert of_pixels[:16, :16].max() > 0
    reach = 16 + 64  # three levels of 3x3 kernels and of interpolation
    assert of_pixels[reach:].max() == of_pixels[:, reach:].max() == 0
    assert of_tokens[-16:, -16:].max() > 0


def embedded(model, tokens):
    """Embeddings (B, h, w, stage1) of tokens, as the backbone receives them."""
    received = []
    hook = model.backbone.register_forward_pre_hook(lambda module, given: received.append(given[0]))
    model(tokens, None, (16 * tokens.shape[1], 16 * tokens.shape[2]))
    hook.remove()
    return received[0].permute(0, 2, 3, 1)


def test_codes_are_standardised():
    model = build_segmenter(HolohistoModel(size="T", decoder="tokens"), CODEBOOK, 16, 1)
    torch.testing.assert_close(model.codebook.mean(dim=0), torch.zeros(6), atol=1e-6, rtol=0)
    torch.testing.assert_close(model.codebook.std(dim=0, unbiased=False), torch.ones(6))


def test_a_token_left_out_is_a_learned_vector_after_the_norm():
    torch.manual_seed(0)
    model = build_segmenter(HolohistoModel(size="T", decoder="tokens"), CODEBOOK, 16, 1).train()
    assert (model.embedding.left_out == 0).all()
    vector = torch.randn(64)
    with torch.no_grad():
        model.embedding.left_out.copy_(vector)
    tokens = torch.randint(0, 32, (2, 6, 8))
    left_out = torch.rand(2, 6, 8) < 0.4
    whole = embedded(model, tokens)
    seen = model.embedding.norm.running_mean.clone(), model.embedding.norm.running_var.clone()
    model.embedding.norm.reset_running_stats()
    part = embedded(model, torch.where(left_out, ~tokens, tokens))
    assert torch.equal(part[~left_out], whole[~left_out])  # the norm's statistics are the same
    assert torch.equal(part[left_out], vector.expand(int(left_out.sum()), 64))
    assert torch.equal(model.embedding.norm.running_mean, seen[0])
    assert torch.equal(model.embedding.norm.running_var, seen[1])
    part.sum().backward()
    gradient = torch.full((64,), float(left_out.sum()))
    torch.testing.assert_close(model.embedding.left_out.grad, gradient)


@torch.no_grad()
@pytest.mark.parametrize("decoder", ["tokens", "rgb"])
def test_a_segmenter_works_with_every_token_left_out(decoder):
    """Which they were does not matter then, only the pixels beside them."""
    torch.manual_seed(0)
    model = build_segmenter(HolohistoModel(size="T", decoder=decoder), CODEBOOK, 16, 2).eval()
    tokens = torch.randint(0, 32, (1, 5, 7))
    rgb = torch.randint(0, 256, (1, 3, 80, 112), dtype=torch.uint8)
    unknown = model(torch.full_like(tokens, -1), rgb, (80, 112))
    assert torch.isfinite(unknown).all()
    assert torch.equal(unknown, model(~tokens, rgb, (80, 112)))
    assert not torch.equal(unknown, model(tokens, rgb, (80, 112)))


@torch.no_grad()
@pytest.mark.parametrize("rows", [135, 136])
def test_stage_two_has_exactly_twice_the_stride(rows):
    """A row of its features lands on the same rows of tokens, at odd heights down to the border."""
    model = backbone.Backbone(SIZES["T"], "relu").eval()
    marked = torch.eye(68)[None, :, :, None].expand(-1, -1, -1, 3)  # each row in its own channel
    model.lateral2.register_forward_hook(lambda module, given, out: marked)
    model.fuse = nn.Identity()
    found = model(torch.randn(1, 64, rows, 5))[0, 64:]  # (row of stage 2, row of tokens, column)
    assert found.shape == (68, rows, 5)
    expected = torch.zeros(68, 136)
    for row in range(68):
        expected[row, 2 * row : 2 * row + 2] = 0.75
        expected[row, 2 * row - 1 : 2 * row] = 0.25
        expected[row, 2 * row + 2 : 2 * row + 3] = 0.25
    expected[0, 0] = expected[67, 135] = 1  # there is no row beyond
    for column in range(5):
        torch.testing.assert_close(found[:, :, column], expected[:, :rows])


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


@pytest.mark.parametrize("attention", ["relu", "softmax"])
@pytest.mark.parametrize("decoder", ["tokens", "rgb"])
def test_all_norms_are_chosen_in_one_place(attention, decoder, monkeypatch):
    """With norms of single tiles, a tile's logits do not depend on the others of a step."""
    of_a_tile = SimpleNamespace(BatchNorm2d=lambda channels: nn.GroupNorm(4, channels))
    monkeypatch.setattr(norm, "nn", of_a_tile)
    torch.manual_seed(0)
    options = HolohistoModel(size="T", attention=attention, decoder=decoder)
    model = build_segmenter(options, CODEBOOK, 16, 1).train()
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in model.modules())
    tokens = torch.randint(0, 32, (2, 4, 6))
    rgb = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)
    both = model(tokens, rgb, (64, 96))
    alone = torch.cat([model(tokens[n:][:1], rgb[n:][:1], (64, 96)) for n in range(2)])
    torch.testing.assert_close(alone, both, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("attention", ["relu", "softmax"])
def test_blocks_computed_again_change_nothing_but_memory(attention):
    def passed(recompute: bool) -> tuple[dict[str, torch.Tensor], int]:
        torch.manual_seed(5)
        model = backbone.Backbone(SIZES["T"], attention)
        model.activation_checkpointing = recompute
        kept: dict[int, int] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            out = model(torch.rand(2, 64, 33, 21))
        out.square().mean().backward()
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        return {**gradients, **model.state_dict(), "out": out}, sum(kept.values())

    (whole, much), (again, little) = passed(False), passed(True)
    assert whole.keys() == again.keys()
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert little < 0.5 * much
