import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from holohisto.errors import HolohistoError
from holohisto.tokenizer.architecture import Architecture
from holohisto.tokenizer.calibration import calibrate
from holohisto.tokenizer.file import load_tokenizer, save_tokenizer, tokenizer_digest
from holohisto.tokenizer.norm import FreezableNorm, Statistics
from holohisto.tokenizer.vqgan import VQGAN

ARCHITECTURE = Architecture(
    channels=8,
    multipliers=(1, 2, 2, 4, 4),
    residual_blocks=1,
    codebook=60,
    dimension=3,
    levels=(4, 5, 3),
)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    made = VQGAN(ARCHITECTURE).eval().requires_grad_(False)
    calibrate(made, tiles(4))
    return made


def picture(height, width, seed):
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    large = np.kron(small, np.ones((8, 8, 1), np.uint8))[:height, :width]
    return torch.from_numpy(large).permute(2, 0, 1)[None]


def tiles(n):
    return [picture(128, 160, seed)[0].permute(1, 2, 0).numpy() for seed in range(n)]


def test_shared_statistics_are_those_of_all_inputs_together():
    x = torch.randn(3, 8, 20, 10) * torch.arange(1, 4)[:, None, None, None] + 7
    x[0] += 30  # inputs with different means: the spread between them matters
    norm = FreezableNorm(8)
    norm.weight.data.uniform_(0.5, 2)
    norm.bias.data.normal_()
    norm.statistics = Statistics.SHARED
    found = norm(x)
    groups = x.double().reshape(3, 2, -1).permute(1, 0, 2).reshape(2, -1)
    torch.testing.assert_close(norm.mean, groups.mean(dim=1).float())
    torch.testing.assert_close(norm.variance, groups.var(dim=1, unbiased=False).float())
    side_by_side = x.permute(1, 0, 2, 3).reshape(1, 8, 60, 10)  # one picture
    exact = torch.nn.functional.group_norm(side_by_side, 2, norm.weight, norm.bias, 1e-6)
    exact = exact.reshape(8, 3, 20, 10).permute(1, 0, 2, 3)
    torch.testing.assert_close(found, exact, rtol=1e-4, atol=1e-4)


def test_gradients_pass_through_shared_statistics():
    x = torch.randn(2, 8, 4, 4, requires_grad=True)
    norm = FreezableNorm(8)
    norm.statistics = Statistics.SHARED
    weights = torch.randn(2, 8, 4, 4)
    (found,) = torch.autograd.grad((norm(x) * weights).sum(), x)
    wide = x.permute(1, 0, 2, 3).reshape(1, 8, 8, 4)
    exact = torch.nn.functional.group_norm(wide, 2, eps=1e-6).reshape(8, 2, 4, 4).transpose(0, 1)
    (expected,) = torch.autograd.grad((exact * weights).sum(), x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_frozen_norm_at_the_statistics_of_one_tile_is_group_norm():
    norm = FreezableNorm(16)
    norm.weight.data.uniform_(0.5, 2)
    norm.bias.data.normal_()
    x = torch.randn(2, 16, 9, 7)
    native = norm(x[:1])
    norm.statistics = Statistics.SHARED
    norm(x[:1])
    norm.statistics = Statistics.FROZEN
    torch.testing.assert_close(norm(x[:1]), native, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(norm(x[1:]), torch.nn.functional.group_norm(x[1:], 4), atol=1e-2)


def test_published_widths_have_32_groups():
    assert FreezableNorm(128).num_groups == FreezableNorm(512).num_groups == 32


def test_calibration_is_a_fixed_point_of_every_layer(model):
    kept = [(norm.mean.clone(), norm.variance.clone()) for norm in model.norms]
    assert all(norm.statistics is Statistics.FROZEN for norm in model.norms)
    assert any(mean.abs().max() > 0.01 for mean, _ in kept)
    inputs = {}
    hooks = [
        norm.register_forward_pre_hook(lambda norm, x: inputs.setdefault(norm, x[0].clone()))
        for norm in model.norms
    ]
    batch = torch.from_numpy(np.stack(tiles(4))).permute(0, 3, 1, 2)
    frozen = model.latents(model.pixels(batch))
    for hook in hooks:
        hook.remove()
    assert len(inputs) == len(kept)
    assert model.latent_norm in inputs
    for norm, (mean, variance) in zip(model.norms, kept, strict=True):
        x = inputs[norm].double().unflatten(1, (norm.num_groups, -1)).transpose(0, 1).flatten(1)
        torch.testing.assert_close(mean.double(), x.mean(dim=1), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(variance.double(), x.var(dim=1, correction=0), rtol=1e-4, atol=0)
    calibrate(model, tiles(4))
    for norm, (mean, variance) in zip(model.norms, kept, strict=True):
        assert torch.equal(norm.mean, mean)
        assert torch.equal(norm.variance, variance)
    torch.testing.assert_close(model.latents(model.pixels(batch)), frozen, rtol=0, atol=0)
    flat = frozen.reshape(-1, 3).double()
    torch.testing.assert_close(flat.mean(dim=0), torch.zeros(3).double(), rtol=0, atol=1e-4)
    torch.testing.assert_close(
        flat.std(dim=0, correction=0), torch.ones(3).double(), rtol=0, atol=1e-3
    )


def test_calibrated_norm_cancels_gain_and_offset_of_what_it_sees():
    norm = FreezableNorm(16)
    x = torch.randn(3, 16, 9, 7)
    found = []
    for gain, offset in ((1, 0), (0.3, 5), (7, -2)):
        norm.statistics = Statistics.SHARED
        norm(gain * x + offset)
        norm.statistics = Statistics.FROZEN
        found.append(norm(gain * x[1:2] + offset))
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-4)
    torch.testing.assert_close(found[2], found[0], rtol=0, atol=1e-4)


@torch.no_grad()
def test_a_slides_contrast_changes_latents_no_more_than_with_native_statistics(model):
    paler = [(127.5 + 0.9 * (tile - 127.5)).round().astype(np.uint8) for tile in tiles(4)]

    def latents(own, statistics_of):
        if statistics_of is None:
            model.use(Statistics.NATIVE)
        else:
            calibrate(model, statistics_of)
        batch = torch.from_numpy(np.stack(own)).permute(0, 3, 1, 2)
        return model.latents(model.pixels(batch))

    plain = latents(tiles(4), tiles(4))
    own = (latents(paler, paler) - plain).abs().mean()
    foreign = (latents(paler, tiles(4)) - plain).abs().mean()
    native = (latents(paler, None) - latents(tiles(4), None)).abs().mean()
    calibrate(model, tiles(4))
    assert own < 0.5 * foreign
    assert float(own) == pytest.approx(float(native), rel=0.15)


def test_one_tile_calibrated_alone_is_encoded_as_natively(model):
    tile = picture(128, 160, 7)
    calibrate(model, [tile[0].permute(1, 2, 0).numpy()])
    frozen = model.latents(model.pixels(tile))
    model.use(Statistics.NATIVE)
    torch.testing.assert_close(model.latents(model.pixels(tile)), frozen, rtol=1e-3, atol=1e-3)
    calibrate(model, tiles(4))


def test_taming_names_and_no_attention(model):
    names = set(model.state_dict())
    assert "encoder.down.0.block.0.norm1.weight" in names
    assert "encoder.mid.block_1.conv1.weight" in names
    assert not any("attn" in name for name in names)
    assert not any("mean" in name or "variance" in name for name in names)  # they are the slide's


def test_token_depends_on_its_neighbourhood_alone(model):
    rgb = picture(512, 528, 3)
    changed = rgb.clone()
    changed[:, :, :, 400:] = 255 - changed[:, :, :, 400:]
    with torch.no_grad():
        same = model.tokens(rgb) == model.tokens(changed)
    assert same[:, :, : (400 - 224) // 16].all()
    assert not same[:, :, 25:].all()


@pytest.mark.parametrize(
    ("levels", "blocks", "reach"), [(5, 2, 220), (5, 3, 282), (4, 2, 108), (5, 1, 158)]
)
def test_reach_is_as_far_as_a_gradient_gets(levels, blocks, reach):
    architecture = Architecture(
        channels=8, multipliers=(1,) * levels, residual_blocks=blocks, codebook=4, dimension=4
    )
    assert architecture.reach == reach
    f = architecture.downscale
    network = VQGAN(architecture).eval()
    network.use(Statistics.FROZEN)
    side = (2 * reach // f + 6) * f
    pixels = torch.zeros(1, 3, side, side, requires_grad=True)
    place = side // f // 2
    network.latents(pixels)[0, place, place].sum().backward()
    touched = pixels.grad[0].abs().sum(dim=(0, 1)).nonzero().flatten()
    assert int(touched.max()) == (place + 1) * f - 1 + reach
    assert place * f - int(touched.min()) <= reach


@pytest.mark.parametrize("channels", [8, 72, 144, 176, 320])
def test_any_legal_width_can_be_normalised(channels):
    norm = FreezableNorm(channels)
    assert norm(torch.randn(1, channels, 3, 3)).shape == (1, channels, 3, 3)


def test_save_and_load_keep_tokens_and_digest_but_no_statistics(model, tmp_path):
    save_tokenizer(model, tmp_path / "t.safetensors", {"origin": "test"})
    again = load_tokenizer(tmp_path / "t.safetensors")
    assert all(norm.statistics is Statistics.NATIVE for norm in again.norms)
    calibrate(again, tiles(4))
    rgb = picture(64, 96, 5)
    assert torch.equal(again.tokens(rgb), model.tokens(rgb))
    assert tokenizer_digest(again) == tokenizer_digest(model)
    assert model.tokens(rgb).unique().numel() > 3
    assert again.architecture == ARCHITECTURE


def test_digest_changes_with_a_weight_but_not_with_a_slides_statistics(model):
    before = tokenizer_digest(model)
    calibrate(model, tiles(2))
    assert tokenizer_digest(model) == before
    calibrate(model, tiles(4))
    model.norms[0].weight[0] += 1
    changed = tokenizer_digest(model)
    model.norms[0].weight[0] -= 1
    assert changed != before == tokenizer_digest(model)


def test_digest_depends_on_the_levels():
    torch.manual_seed(0)
    one = VQGAN(ARCHITECTURE)
    other = VQGAN(ARCHITECTURE.model_copy(update={"levels": (5, 4, 3)}))
    other.load_state_dict(one.state_dict())
    assert tokenizer_digest(one) != tokenizer_digest(other)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "tokenizer cannot be read: no safetensors file"),
        (b"not safetensors" * 10, "is no tokenizer, or damaged: its header is too long"),
    ],
)
def test_a_file_that_is_no_tokenizer_is_refused(content, message, tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(HolohistoError, match=message):
        load_tokenizer(path)


def test_other_safetensors_are_refused(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(HolohistoError, match="not a HoloHisto tokenizer"):
        load_tokenizer(tmp_path / "x.safetensors")
