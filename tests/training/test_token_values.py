"""Slide Dice with the tokens as they are, left out and shuffled."""

import numpy as np
import pytest
import torch
from scored_by_torch import by_torch
from training_runs import SIZE, slide

from holohisto.segmenter.holohisto.model import HolohistoSegmenter
from holohisto.tiles.grid import Tile
from holohisto.training.sampler import SamplingArea, foreground_tiles
from holohisto.training.scoring import scored_tiles
from holohisto.training.token_value import token_values

BRIGHT = 10
"""Tokens of the slides are the brightness of a square; half of an object and more is above this."""


class ByTokens(HolohistoSegmenter):
    """Finds squares with bright tokens, and nothing where tokens are left out."""

    needs_tokens, needs_pixels = True, False

    def __init__(self):
        torch.nn.Module.__init__(self)
        self.seen = []

    def forward(self, tokens, rgb, size):
        self.seen.append(tokens.clone())
        found = (tokens > BRIGHT).repeat_interleave(16, 1).repeat_interleave(16, 2)
        return found[:, None, : size[0], : size[1]].float() - 0.5


def test_a_model_that_reads_tokens_alone_needs_them():
    model = ByTokens()
    values = token_values(*by_torch(model), slide(1), (96, 64))
    kept, out, mixed = (value.dice[0] for value in values)
    assert [value.condition for value in values] == ["as they are", "left out", "shuffled"]
    assert kept > 0.8
    assert out == 0
    bits = slide(1).tissue.slide.bits  # of squares drawn at random as many are found and true
    assert mixed == pytest.approx(bits.mean(), abs=0.15)
    assert mixed < kept - 0.3
    third = len(model.seen) // 3
    assert {value.tiles for value in values} == {third} == {16}
    assert all((tokens == -1).all() for tokens in model.seen[third : 2 * third])


def test_the_slide_keeps_its_tokens():
    own = slide(1)
    before = own.token_map
    token_values(*by_torch(ByTokens()), own, (96, 64))
    assert own.token_map is before


def test_an_unknown_class_has_no_dice():
    values = token_values(*by_torch(ByTokens()), slide(1, known=(False,)), (96, 64))
    assert np.isnan([value.dice[0] for value in values]).all()


def test_of_many_tiles_some_are_taken_at_equal_intervals():
    everywhere = np.ones((16, 21), bool)
    area = SamplingArea(SIZE, 16, everywhere, everywhere)
    tiles = foreground_tiles(area, (96, 64), 16)
    assert len(tiles) == 16
    assert scored_tiles(area, (96, 64), 16) == tiles
    assert scored_tiles(area, (96, 64), 16, 16) == tiles
    assert scored_tiles(area, (96, 64), 16, 5) == [tiles[n] for n in (0, 3, 6, 9, 12)]
    assert isinstance(tiles[0], Tile)
    values = token_values(*by_torch(ByTokens()), slide(1), (96, 64), most_tiles=5)
    assert {value.tiles for value in values} == {5}
