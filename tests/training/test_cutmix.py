import numpy as np
import pytest
import torch
from training_runs import OPTIONS, trainer

from holohisto.tiles.rectangles import random_rectangle
from holohisto.training.cutmix import exchange
from holohisto.training.slides import Batch

NAMES = ("a", "b", "c")
STEP = 5
"""A step whose two tiles differ."""


def batch(tokens=True):
    """Three tiles of 6 x 9 squares of 8 pixels; each array tells the tile and the place."""
    square = 8
    places = np.arange(3 * 6 * 9).reshape(3, 6, 9)
    pixels = places.repeat(square, axis=1).repeat(square, axis=2)
    return Batch(
        tokens=places.copy() if tokens else None,
        rgb=np.stack([pixels] * 3, axis=1).astype(np.uint8),
        target=pixels[:, None] % 2 == 0,
        known=pixels[:, None] % 3 == 0,
        names=NAMES,
        seeds=(1, 2, 3),
    )


@pytest.mark.parametrize("tokens", [True, False])
def test_a_pair_exchanges_the_same_rectangle_of_everything(tokens):
    before = batch(tokens)
    mixed = exchange(batch(tokens), 2, 0, (slice(1, 4), slice(5, 9)), 8)
    inside = np.zeros((6 * 8, 9 * 8), bool)
    inside[8:32, 40:72] = True
    for name in ("rgb", "target", "known"):
        got, was = getattr(mixed, name), getattr(before, name)
        assert np.array_equal(got[0], np.where(inside, was[2], was[0]))
        assert np.array_equal(got[1], was[1])
        assert np.array_equal(got[2], np.where(inside, was[0], was[2]))
    if tokens:
        assert before.tokens is not None
        assert mixed.tokens is not None
        squares = inside[::8, ::8]
        assert np.array_equal(
            mixed.tokens[0], np.where(squares, before.tokens[2], before.tokens[0])
        )
        assert np.array_equal(
            mixed.tokens[2], np.where(squares, before.tokens[0], before.tokens[2])
        )
    else:
        assert mixed.tokens is None
    assert mixed.names == ("a with a part of c", "b", "c with a part of a")


def test_rectangles_are_within_the_tile_and_of_the_sides_said():
    random = np.random.default_rng(0)
    heights, widths, tops, rights = [], [], [], []
    for _ in range(2000):
        rows, columns = random_rectangle(30, 50, random)
        heights.append(rows.stop - rows.start)
        widths.append(columns.stop - columns.start)
        tops.append(rows.start)
        rights.append(columns.stop)
    assert (min(heights), max(heights)) == (9, 24)
    assert (min(widths), max(widths)) == (15, 40)
    assert min(tops) == 0
    assert max(rights) == 50
    assert random_rectangle(1, 1, random) == (slice(0, 1), slice(0, 1))


def mixed(share, size=2):
    return trainer(
        OPTIONS.model_copy(update={"cutmix": share, "batch": size, "token_dropout": 0.0})
    )


def read(a_trainer, step):
    return a_trainer.batches.read(step).on(torch.device("cpu"))


def test_training_shows_each_pair_mixed_and_loses_nothing():
    as_they_are, exchanged = read(mixed(0.0), STEP), read(mixed(1.0), STEP)
    for name in ("tokens", "rgb", "target"):
        was, got = (np.asarray(getattr(b, name)) for b in (as_they_are, exchanged))
        assert not np.array_equal(was, got)
        kept = was == got
        swapped = was[::-1] == got
        assert (kept | swapped).all()
        assert np.array_equal(np.sort(was, axis=0), np.sort(got, axis=0))
    assert np.array_equal(read(mixed(1.0), STEP).tokens, exchanged.tokens)
    first, second = as_they_are.names
    assert exchanged.names == (
        f"{first} with a part of {second}",
        f"{second} with a part of {first}",
    )


def test_a_sample_is_the_same_when_its_partner_is_another_ranks_or_steps():
    pair = read(mixed(1.0, size=2), 1)  # samples 2 and 3
    for step, place in ((2, 0), (3, 1)):
        alone = read(mixed(1.0, size=1), step)
        assert alone.names == (pair.names[place],)
        assert alone.seeds == (pair.seeds[place],)
        for name in ("tokens", "rgb", "target", "known"):
            assert np.array_equal(getattr(alone, name)[0], getattr(pair, name)[place])


def test_the_share_of_pairs_that_exchange():
    rectangles = mixed(0.25).batches.rectangles(list(range(4000)))
    assert 0.21 < len(rectangles) / 2000 < 0.29
    assert all(even % 2 == 0 for even in rectangles)
    assert mixed(0.0).batches.rectangles([0, 1]) == {}
