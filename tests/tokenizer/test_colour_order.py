"""A slide with its colours exchanged is encoded in the order that gives the usual codes."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional

from holohisto.errors import HolohistoError
from holohisto.tiles.appearance import ORDERS, UNPERMUTED
from holohisto.tiles.colour import COMMON
from holohisto.tokenizer import colour_order
from holohisto.tokenizer.architecture import Architecture
from holohisto.tokenizer.colour_order import code_usage, most_usual, usual_order
from holohisto.tokenizer.file import load_tokenizer, save_tokenizer, tokenizer_digest
from holohisto.tokenizer.norm import Statistics
from holohisto.tokenizer.origin import count_usage
from holohisto.tokenizer.vqgan import VQGAN

ARCHITECTURE = Architecture(
    channels=8,
    multipliers=(1, 2, 2, 4, 4),
    residual_blocks=1,
    codebook=64,
    dimension=6,
    levels=(2,) * 6,
)
HEIGHT, WIDTH = 112, 144


class RoughnessTokenizer(VQGAN):
    """Its codes tell in which colours a square is rougher than in the others."""

    def latents(self, x):
        energy = functional.avg_pool2d(functional.pad(x.diff(dim=3).abs(), (0, 1)), 16)
        energy = (energy + 1e-3).log()
        relative = energy - energy.mean(dim=1, keepdim=True)  # (B, 3, h, w)
        return torch.cat([relative, relative - 0.3], dim=1).permute(0, 2, 3, 1)


@pytest.fixture
def model():
    torch.manual_seed(1)
    return RoughnessTokenizer(ARCHITECTURE).eval().requires_grad_(False)


def textures(seed):
    """Densities (height, width, 3) of three textures, of mean 0 and spread 1 each."""
    random = np.random.default_rng(seed)
    grains = (2, 8, 16)
    planes = [
        np.kron(random.gamma(1.5, size=(HEIGHT // g, WIDTH // g)), np.ones((g, g))) for g in grains
    ]
    planes = [(plane - plane.mean()) / plane.std() for plane in planes]
    return np.stack(planes, axis=-1)


def stained(densities):
    """Bring densities to the common stain, (height, width, 3) uint8."""
    density = np.array(COMMON.mean) + 0.5 * COMMON.spread * densities
    return np.clip(np.rint(256 * np.exp(-density) - 1), 0, 254).astype(np.uint8)


def tissue(order=UNPERMUTED, first=0):
    """Tiles whose colours are taken from those of the training tissue in an order."""
    return [stained(textures(first + n)[..., list(order)]) for n in range(6)]


def know(model, batches, order_z=0.0):
    model.usage, model.order_z = code_usage(model, batches), torch.tensor(order_z)


def inverse(order):
    return tuple(order.index(channel) for channel in range(3))


@pytest.mark.parametrize("order", ORDERS)
def test_exchanged_colours_are_put_back(model, order):
    know(model, [tissue(first=100 * k) for k in range(4)])
    assert usual_order(model, tissue(order, first=1000), COMMON) == inverse(order)


def test_colours_that_say_the_same_stay_as_they_are(model):
    know(model, [tissue()])
    grey = [stained(np.repeat(textures(n)[..., :1], 3, axis=2)) for n in range(6)]
    assert usual_order(model, grey, COMMON) == UNPERMUTED


@pytest.mark.parametrize("statistics", [Statistics.NATIVE, Statistics.FROZEN])
def test_the_tokenizer_goes_on_with_the_kind_of_statistics_that_it_had(model, statistics):
    know(model, [tissue()])
    model.use(statistics)
    usual_order(model, tissue((1, 2, 0), first=1000), COMMON)
    assert {norm.statistics for norm in model.norms} == {statistics}


def test_an_order_counts_only_if_it_is_clearer_than_on_training_slides(model):
    exchanged = tissue((1, 2, 0), first=1000)
    know(model, [tissue(first=100 * k) for k in range(4)])
    found = most_usual(model, model.usage, exchanged, COMMON)
    assert found.order == (2, 0, 1)
    assert found.z > 10
    model.order_z = torch.tensor(found.z - 0.1)
    assert usual_order(model, exchanged, COMMON) == (2, 0, 1)
    model.order_z = torch.tensor(found.z + 0.1)
    assert usual_order(model, exchanged, COMMON) == UNPERMUTED


def test_a_small_gain_is_no_reason_for_another_order(model, monkeypatch):
    exchanged = tissue((1, 2, 0), first=1000)
    know(model, [tissue(first=100 * k) for k in range(4)])
    found = most_usual(model, model.usage, exchanged, COMMON)
    monkeypatch.setattr(colour_order, "LEAST_GAIN", found.gain - 0.01)
    assert usual_order(model, exchanged, COMMON) == (2, 0, 1)
    monkeypatch.setattr(colour_order, "LEAST_GAIN", found.gain + 0.01)
    assert usual_order(model, exchanged, COMMON) == UNPERMUTED


def test_training_counts_the_usage_on_its_slides(model):
    foreground = SimpleNamespace(common_colour=COMMON)
    slide = SimpleNamespace(tissue=SimpleNamespace(foreground=foreground))

    class Source:
        slides = [slide] * 20

        def example(self, n, tiles, side):
            assert (tiles, side) == (16, 256)
            return tissue(first=10 * n)

        def tiles_of(self, index, tiles, side):
            compared.append(index)
            return tissue((1, 0, 2) if index == 19 else UNPERMUTED, first=30)

    compared = []
    count_usage(model, Source())
    assert model.usage.sum() == pytest.approx(1)
    odd = most_usual(model, model.usage, tissue((1, 0, 2), first=30), COMMON)
    assert odd.order == (1, 0, 2)
    assert model.order_z == pytest.approx(odd.z)
    assert compared == [0, 3, 5, 8, 11, 14, 16, 19]


def test_without_the_usage_of_codes_or_tissue_nothing_is_exchanged(model):
    exchanged = tissue((2, 0, 1))
    assert usual_order(model, exchanged, COMMON) == UNPERMUTED
    know(model, [tissue()])
    assert usual_order(model, [], COMMON) == UNPERMUTED
    glass = np.full((HEIGHT, WIDTH, 3), 250, np.uint8)
    assert usual_order(model, [glass], COMMON) == UNPERMUTED
    assert usual_order(model, exchanged, COMMON) != UNPERMUTED


def test_usage_counts_stained_squares_only(model):
    tiles = tissue()
    usage = code_usage(model, [tiles])
    squares = 6 * (HEIGHT // 16) * (WIDTH // 16)
    counts = usage * (squares + 64)
    torch.testing.assert_close(counts, counts.round(), rtol=0, atol=1e-3)
    assert counts.sum() == pytest.approx(squares + 64)
    assert counts.min() == pytest.approx(1)  # of codes that were not seen
    for tile in tiles:
        tile[:, :32] = 255
    white = 6 * (HEIGHT // 16) * 2
    counts = code_usage(model, [tiles]) * (squares - white + 64)
    torch.testing.assert_close(counts, counts.round(), rtol=0, atol=1e-3)


def test_the_file_keeps_the_usage_and_its_digest(model, tmp_path):
    before = tokenizer_digest(model)
    save_tokenizer(model, tmp_path / "without.safetensors", {})
    assert load_tokenizer(tmp_path / "without.safetensors").usage is None
    know(model, [tissue()])
    assert tokenizer_digest(model) != before
    save_tokenizer(model, tmp_path / "with.safetensors", {})
    read = load_tokenizer(tmp_path / "with.safetensors")
    assert read.usage is not None
    torch.testing.assert_close(read.usage, model.usage, rtol=0, atol=0)
    assert tokenizer_digest(read) == tokenizer_digest(model)
    torch.testing.assert_close(read.order_z, model.order_z, rtol=0, atol=0)
    model.usage = torch.ones(63)
    save_tokenizer(model, tmp_path / "bad.safetensors", {})
    with pytest.raises(HolohistoError, match="weights of another architecture"):
        load_tokenizer(tmp_path / "bad.safetensors")
