import math

import numpy as np
import pytest
import torch

from holohisto.config.training import TokenizerOptions
from holohisto.tokenizer.calibration import agreement
from holohisto.tokenizer.codebook import Codebook
from holohisto.tokenizer.file import tokenizer_digest
from holohisto.tokenizer.moving_codebook import MovingCodebook, k_means
from holohisto.tokenizer.training import train_tokenizer

OPTIONS = TokenizerOptions(
    channels=8,
    multipliers=(1, 2, 2),
    residual_blocks=1,
    codebook=24,
    dimension=4,
    tile=64,
    batch=2,
    steps=60,
    learning_rate=3e-3,
    adversarial_start=0.8,
    calibration_tiles=6,
)


def read_tile(n):
    """Stripes and discs of two colours, turned at random."""
    random = np.random.default_rng(n)
    y, x = np.mgrid[:64, :64]
    waves = np.sin((x * random.uniform(-1, 1) + y * random.uniform(-1, 1)) / 4) > 0
    disc = np.hypot(x - random.integers(64), y - random.integers(64)) < 20
    rgb = np.where(waves[..., None], (230, 180, 200), (150, 60, 130))
    return np.where(disc[..., None], (240, 240, 240), rgb).astype(np.uint8)


@pytest.fixture(scope="module")
def trained():
    rows, model = [], None
    for model, row in train_tokenizer(read_tile, OPTIONS, 0, torch.device("cpu")):  # noqa: B007
        rows.append(row)
    return model.eval(), rows


def test_it_learns_to_reconstruct_with_most_of_its_codes(trained):
    model, rows = trained
    assert rows[-1].step == OPTIONS.steps
    assert rows[-1].reconstruction < 0.6 * rows[0].reconstruction
    assert rows[-1].codes_used >= 12
    assert rows[-1].perplexity > 6
    tile = torch.from_numpy(read_tile(1000)).permute(2, 0, 1)[None]
    error = (model.reconstruct(tile).float() - tile.float()).square().mean() / 255**2
    plain = (tile.float().mean((2, 3), keepdim=True) - tile.float()).square().mean() / 255**2
    assert -10 * math.log10(error) > -10 * math.log10(plain) + 3


def test_it_ends_frozen_and_trained_in_that_state(trained):
    model, _ = trained
    assert all(norm.frozen for norm in model.norms)
    assert any(norm.mean.abs().max() > 1e-3 for norm in model.norms)
    assert agreement(model, [read_tile(n) for n in range(4)]) < 1.0


def test_the_same_seed_gives_the_same_tokenizer(trained):
    again = None
    for again, _ in train_tokenizer(read_tile, OPTIONS, 0, torch.device("cpu")):  # noqa: B007
        pass
    assert tokenizer_digest(again) == tokenizer_digest(trained[0])


def test_k_means_finds_separate_clusters():
    torch.manual_seed(0)
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])
    points = centres.repeat(50, 1) + 0.1 * torch.randn(200, 2)
    found = k_means(points, 12)
    distance = torch.cdist(centres, found).min(dim=1).values
    assert distance.max() < 0.2


def test_k_means_of_fewer_points_than_clusters():
    found = k_means(torch.randn(3, 2), 8)
    assert found.shape == (8, 2)
    assert torch.isfinite(found).all()


def test_codes_move_to_their_latents_and_dead_codes_start_anew():
    torch.manual_seed(0)
    book = Codebook(3, 2)
    moving = MovingCodebook(book)
    moving.start(torch.tensor([[0.0, 0.0], [5.0, 5.0], [100.0, 100.0]]))
    latents = torch.tensor([[1.0, 1.0], [6.0, 4.0]]).repeat(50, 1)
    for _ in range(300):
        moving.update(latents, book.assign(latents), restart=False)
    torch.testing.assert_close(
        book.embedding.weight[0], torch.tensor([1.0, 1.0]), atol=0.05, rtol=0
    )
    torch.testing.assert_close(
        book.embedding.weight[1], torch.tensor([6.0, 4.0]), atol=0.05, rtol=0
    )
    assert moving.used == 2
    moving.update(latents, book.assign(latents), restart=True)
    assert moving.used == 3
    assert book.embedding.weight[2].max() < 10


def test_perplexity_of_equal_use_is_the_number_of_codes():
    moving = MovingCodebook(Codebook(16, 2))
    assert moving.perplexity == pytest.approx(16)
    moving.count[1:] = 1e-9
    assert moving.perplexity == pytest.approx(1, abs=1e-3)
