"""The tokens that are computed, and the background of all others."""

import numpy as np
import pytest
import torch
from encoded_picture import SIZE, encode, frozen_tokenizer, picture, reader

from holohisto.runtime.arithmetic import ceil_div
from holohisto.tiles.grid import Tile
from holohisto.tokens.encoders import LocalEncoder, background_token
from holohisto.tokens.needed import needed_tokens, tissue_squares


@pytest.fixture(scope="module")
def model():
    return frozen_tokenizer()


@pytest.mark.parametrize("f", [8, 16, 32])
def test_needed_tokens_widen_the_foreground_by_two_cells(f):
    foreground = np.zeros((49, 63), bool)
    foreground[10, 20] = True
    needed = needed_tokens(foreground, 16, (1003, 771), f)
    assert needed.shape == (ceil_div(771, f), ceil_div(1003, f))
    rows, columns = np.nonzero(needed)
    assert rows.min() * f <= 8 * 16 < (rows.min() + 1) * f
    assert rows.max() * f < 13 * 16 <= (rows.max() + 1) * f
    assert columns.min() * f <= 18 * 16 < (columns.min() + 1) * f
    assert columns.max() * f < 23 * 16 <= (columns.max() + 1) * f


@pytest.mark.parametrize("colour", [0, 240])
def test_background_token_is_what_a_plane_of_the_colour_encodes_to(model, colour):
    plane = torch.full((1, 3, 480, 480), colour, dtype=torch.uint8)
    plain = np.full((1, 1, 3), colour, np.uint8)
    found = background_token(LocalEncoder(model), plain)
    assert found == int(model.tokens(plane)[0, 15, 15])


def test_black_and_white_surrounds_have_tokens_of_their_own(model):
    """Far from the tissue an encoded surround is what is filled in where nothing is encoded."""
    encoder = LocalEncoder(model)
    for colour in (0, 255):
        rgb = np.full((SIZE[1], SIZE[0], 3), colour, np.uint8)
        rgb[:100, :100] = picture()[:100, :100]
        found = encode(encoder, read=reader(rgb, (colour,) * 3))
        assert (found[22:, 22:] == background_token(encoder, rgb[-1, -1])).all()


def test_squares_are_around_tokens_at_even_distances():
    needed = np.zeros((40, 50), bool)
    needed[10:30, 20:40] = True  # 400 tokens; the middles of their quarters are 50, 150, ...
    found = tissue_squares(needed, 16, 4, 96)
    middles = [(10 + n // 20, 20 + n % 20) for n in (50, 150, 250, 350)]
    assert found == [Tile((y - 3) * 16, (x - 3) * 16, 96, 96) for y, x in middles]


def test_squares_stay_on_the_slide_where_it_is_large_enough():
    needed = np.zeros((12, 7), bool)
    needed[0, 0] = needed[11, 6] = True
    assert tissue_squares(needed, 16, 2, 64) == [Tile(0, 0, 64, 64), Tile(128, 48, 64, 64)]
    assert tissue_squares(needed, 16, 2, 256) == [Tile(0, 0, 256, 256)] * 2
    assert tissue_squares(np.zeros((5, 6), bool), 16, 3, 64) == []
