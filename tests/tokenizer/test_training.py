import itertools
import math

import numpy as np
import pytest
import torch

from holohisto.config.training import TokenizerOptions
from holohisto.errors import HolohistoError
from holohisto.tokenizer.calibration import calibrate
from holohisto.tokenizer.file import tokenizer_digest
from holohisto.tokenizer.norm import Statistics
from holohisto.tokenizer.training import TissueBatch, architecture, train_tokenizer

OPTIONS = TokenizerOptions(
    channels=8,
    multipliers=(1, 2, 2),
    residual_blocks=1,
    levels=(4, 4, 3),
    tile=64,
    batch=2,
    steps=120,
    learning_rate=3e-3,
    adversarial_start=0.8,
)


def tile_of(n):
    """Stripes and a disc of two colours, turned at random, and where the disc is."""
    random = np.random.default_rng(n)
    y, x = np.mgrid[:64, :64]
    waves = np.sin((x * random.uniform(-1, 1) + y * random.uniform(-1, 1)) / 4) > 0
    disc = np.hypot(x - random.integers(64), y - random.integers(64)) < 20
    rgb = np.where(waves[..., None], (230, 180, 200), (150, 60, 130))
    return np.where(disc[..., None], (240, 240, 240), rgb).astype(np.uint8), disc


def batch_of(step):
    """Two tiles in another contrast, and their discs as the only class."""
    tiles, discs = zip(*(tile_of(2 * step + n) for n in range(2)), strict=True)
    own = np.stack(tiles)
    seen = (127.5 + (0.8 + 0.1 * (step % 3)) * (own - 127.5)).astype(np.uint8)
    return TissueBatch(seen, own, np.stack(discs)[:, None], np.array([True]))


def read_batch(step):
    return [batch_of(step)]


def without_classes(step):
    batch = batch_of(step)
    return [batch._replace(annotated=np.zeros((2, 0, 64, 64), bool), known=np.zeros(0, bool))]


def train(read, options=OPTIONS, seed=0):
    rows, model = [], None
    for model, row in train_tokenizer(read, options, seed, torch.device("cpu")):  # noqa: B007
        rows.append(row)
    return model.eval(), rows


@pytest.fixture(scope="module")
def trained():
    return train(read_batch)


def test_it_learns_to_reconstruct_with_most_of_its_codes(trained):
    model, rows = trained
    assert [row.step for row in rows] == list(range(2, 121, 2))
    first, last = (
        {name: np.mean([getattr(row, name) for row in part]) for name in vars(rows[0])}
        for part in (rows[:5], rows[-5:])
    )
    assert last["reconstruction"] < 0.6 * first["reconstruction"]
    assert last["psnr"] > first["psnr"] + 5
    assert last["codes_used"] >= 20
    assert last["perplexity"] > 6
    assert last["effective_rank"] > 2
    tile = torch.from_numpy(tile_of(1000)[0]).permute(2, 0, 1)[None]
    error = (model.reconstruct(tile).float() - tile.float()).square().mean() / 255**2
    plain = (tile.float().mean((2, 3), keepdim=True) - tile.float()).square().mean() / 255**2
    assert -10 * math.log10(error) > -10 * math.log10(plain) + 3


def test_the_annotation_head_learns_where_the_discs_are(trained):
    _, rows = trained
    first, last = (np.mean([row.annotation for row in part]) for part in (rows[:5], rows[-5:]))
    assert last < 0.3 * first


def test_the_rows_are_facts_of_their_step(trained):
    _, rows = trained
    assert all(0 <= row.kept <= 1 for row in rows)
    assert all(1 <= row.effective_rank <= 3 for row in rows)
    assert all(1 <= row.perplexity <= row.codes_used + 1e-3 <= 49 for row in rows)
    assert all(a.seconds <= b.seconds for a, b in itertools.pairwise(rows))
    assert np.mean([row.kept for row in rows[2::3]]) > np.mean([row.kept for row in rows[::3]])


def test_tiles_in_their_own_stain_keep_all_tokens():
    options = OPTIONS.model_copy(update={"steps": 2})
    _, rows = train(lambda step: [batch_of(step)._replace(seen=batch_of(step).own)], options)
    assert [row.kept for row in rows] == [1.0, 1.0]


def test_it_is_trained_at_the_statistics_of_the_tiles_of_a_step(trained):
    model, _ = trained
    assert all(norm.statistics is Statistics.SHARED for norm in model.norms)
    tiles = list(batch_of(500).own)
    batch = model.pixels(torch.from_numpy(np.stack(tiles)).permute(0, 3, 1, 2))
    with torch.no_grad():
        in_training = model.latents(batch)
        calibrate(model, tiles)
        torch.testing.assert_close(model.latents(batch), in_training, rtol=1e-4, atol=1e-4)
    model.use(Statistics.SHARED)


def test_the_same_seed_gives_the_same_tokenizer(trained):
    again, _ = train(read_batch)
    assert tokenizer_digest(again) == tokenizer_digest(trained[0])
    few = OPTIONS.model_copy(update={"steps": 2})
    assert len({tokenizer_digest(train(read_batch, few, seed)[0]) for seed in (0, 1)}) == 2


def test_without_classes_there_is_no_annotation_loss():
    options = OPTIONS.model_copy(update={"steps": 3})
    model, rows = train(without_classes, options)
    assert all(math.isnan(row.annotation) for row in rows)
    assert all(math.isfinite(row.loss) for row in rows)
    assert not any("head" in name for name in model.state_dict())


def test_the_weight_scales_the_annotation_loss():
    losses = []
    for weight in (0.0, 1.0, 3.0):
        options = OPTIONS.model_copy(update={"steps": 1, "annotation_weight": weight})
        _, (row,) = train(read_batch, options)
        losses.append(row.loss)
    assert losses[1] - losses[0] == pytest.approx(row.annotation, rel=1e-4)
    assert losses[2] - losses[0] == pytest.approx(3 * row.annotation, rel=1e-4)


def test_a_loss_that_is_not_finite_ends_training():
    options = OPTIONS.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(HolohistoError, match=r"not finite at step.*tokenizer.learning_rate"):
        train(read_batch, options)


def test_the_architecture_is_that_of_the_options():
    found = architecture(OPTIONS)
    assert (found.codebook, found.dimension, found.levels) == (48, 3, (4, 4, 3))
    assert found.downscale == 4
    assert found.local
