"""Token maps with tokens left out or shuffled."""

from dataclasses import replace

import numpy as np

from holohisto.config.training import TokensOptions
from holohisto.slide.scale import Scale
from holohisto.tiles.grid import Tile
from holohisto.tokens.altered import CONDITIONS, left_out, shuffled
from holohisto.tokens.needed import tissue_tokens
from holohisto.tokens.token_map import TokenMap, tile_tokens

TISSUE = np.zeros((6, 9), bool)
TISSUE[1:5, 2:8] = True
TOKENS = np.where(TISSUE, np.arange(1, 55).reshape(6, 9), 0).astype(np.uint16)
OTHER = np.full((9, 6), 99, np.uint16)
MAP = TokenMap(
    [TOKENS.copy(), OTHER], "s1", "p", "t", 16, (0, 99), "fp32", TokensOptions(), Scale.whole(1)
)
OVER_THE_BORDER = Tile(128, 64, 64, 64)


def test_left_out_tokens_are_minus_one_everywhere():
    tile = tile_tokens(left_out(MAP, TISSUE), OVER_THE_BORDER)
    assert tile.shape == (4, 4)
    assert (tile == -1).all()


def test_shuffled_tokens_are_the_same_ones_at_other_places():
    altered = shuffled(MAP, TISSUE)
    (tokens,) = altered.tokens
    assert (tokens[~TISSUE] == 0).all()
    assert sorted(tokens[TISSUE]) == sorted(TOKENS[TISSUE])
    assert (tokens[TISSUE] != TOKENS[TISSUE]).sum() > 18
    assert tile_tokens(altered, OVER_THE_BORDER)[-1, -1] == 0
    assert (MAP.tokens[0] == TOKENS).all()


def test_the_permutation_is_that_of_the_slide():
    first, again = (shuffled(MAP, TISSUE).tokens[0] for _ in range(2))
    assert (first == again).all()
    assert (first != shuffled(replace(MAP, slide="s2"), TISSUE).tokens[0]).any()


def test_the_first_condition_changes_nothing():
    assert list(CONDITIONS) == ["as they are", "left out", "shuffled"]
    assert CONDITIONS["as they are"](MAP, TISSUE) is MAP


def test_tokens_of_the_tissue_have_no_margin():
    cells = np.zeros((5, 7), bool)
    cells[2, 3] = True  # pixels 96 to 127 of 224, 64 to 95 of 150
    found = tissue_tokens(cells, 32, (224, 150), 16)
    assert found.shape == (10, 14)
    assert np.argwhere(found).tolist() == [[4, 6], [4, 7], [5, 6], [5, 7]]
