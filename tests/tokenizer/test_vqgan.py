import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from holohisto.errors import HolohistoError
from holohisto.tokenizer.architecture import Architecture
from holohisto.tokenizer.calibration import _adopt, calibrate
from holohisto.tokenizer.file import load_tokenizer, save_tokenizer, tokenizer_digest
from holohisto.tokenizer.norm import FreezableNorm, RunningMoments
from holohisto.tokenizer.vqgan import VQGAN

ARCHITECTURE = Architecture(
    channels=8, multipliers=(1, 2, 2, 4, 4), residual_blocks=1, codebook=64, dimension=8
)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    made = VQGAN(ARCHITECTURE).eval().requires_grad_(False)
    made.quantize.embedding.weight.normal_()
    calibrate(made, tiles(4), 1e-3)
    made.quantize.embedding.weight.copy_(
        made.latents(made.pixels(picture(256, 256, 9))).reshape(-1, 8)[::4]
    )
    return made


def picture(height, width, seed):
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    large = np.kron(small, np.ones((8, 8, 1), np.uint8))[:height, :width]
    return torch.from_numpy(large).permute(2, 0, 1)[None]


def tiles(n):
    return [picture(128, 160, seed)[0].permute(1, 2, 0).numpy() for seed in range(n)]


def test_tally_of_parts_is_the_variance_of_the_whole():
    x = torch.randn(3, 8, 20, 10) * torch.arange(1, 4)[:, None, None, None] + 7
    x[0] += 30  # parts with different means: the between-part term matters
    moments = RunningMoments()
    for part in (x[:1], x[1:]):
        moments.add(part, 2)
    values = x.double().reshape(3, 2, -1).permute(1, 0, 2).reshape(2, -1)
    torch.testing.assert_close(torch.as_tensor(moments.mean), values.mean(dim=1))
    torch.testing.assert_close(moments.variance, values.var(dim=1, unbiased=False))


def test_frozen_norm_at_its_own_statistics_is_group_norm():
    norm = FreezableNorm(16)
    norm.weight.data.uniform_(0.5, 2)
    norm.bias.data.normal_()
    x = torch.randn(2, 16, 9, 7)
    native = norm(x[:1])
    norm.moments = RunningMoments()
    norm(x[:1])
    _adopt(norm)
    norm.frozen = True
    torch.testing.assert_close(norm(x[:1]), native, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(norm(x[1:]), torch.nn.functional.group_norm(x[1:], 4), atol=1e-2)


def test_published_widths_have_32_groups():
    assert FreezableNorm(128).num_groups == FreezableNorm(512).num_groups == 32


def test_calibration_settles_at_a_fixed_point(model):
    before = [norm.mean.clone() for norm in model.norms]
    for norm in model.norms:
        norm.moments = RunningMoments()
    for tile in tiles(4):
        model.latents(model.pixels(torch.from_numpy(tile).permute(2, 0, 1)[None]))
    assert max(_adopt(norm) for norm in model.norms) < 2e-3
    assert any(value.abs().max() > 0.01 for value in before)


def test_taming_names_and_no_attention(model):
    names = set(model.state_dict())
    assert "encoder.down.0.block.0.norm1.weight" in names
    assert "quantize.embedding.weight" in names
    assert not any("attn" in name for name in names)


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
    network.freeze()
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


def test_save_and_load_keep_tokens_and_digest(model, tmp_path):
    save_tokenizer(model, tmp_path / "t.safetensors", {"origin": "test"})
    again = load_tokenizer(tmp_path / "t.safetensors")
    rgb = picture(64, 96, 5)
    assert torch.equal(again.tokens(rgb), model.tokens(rgb))
    assert tokenizer_digest(again) == tokenizer_digest(model)
    assert model.tokens(rgb).unique().numel() > 3


def test_digest_changes_with_a_statistic(model):
    before, mean = tokenizer_digest(model), model.norms[0].mean.clone()
    model.norms[0].mean[0] += 1
    changed = tokenizer_digest(model)
    model.norms[0].mean.copy_(mean)
    assert changed != before == tokenizer_digest(model)


@pytest.mark.parametrize("content", [b"", b"not safetensors" * 10])
def test_a_file_that_is_no_tokenizer_is_refused(content, tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(HolohistoError, match="cannot be read"):
        load_tokenizer(path)


def test_other_safetensors_are_refused(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(HolohistoError, match="not a HoloHisto tokenizer"):
        load_tokenizer(tmp_path / "x.safetensors")
