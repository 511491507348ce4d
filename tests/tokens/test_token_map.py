"""The file of a token map."""

import numpy as np
import pytest

from holohisto.config.training import TokensOptions
from holohisto.errors import HolohistoError
from holohisto.tiles.grid import Tile
from holohisto.tiles.variants import variants_of
from holohisto.tokens.token_map import (
    TokenMap,
    load_token_map,
    require_mode,
    require_slide,
    require_tokenizer,
    save_token_map,
    tile_tokens,
)


def token_map(values, **facts):
    given = {
        "slide": "s",
        "fingerprint": "p",
        "tokenizer": "digest",
        "downscale": 16,
        "backgrounds": tuple(range(99, 99 + len(values))),
        "options": TokensOptions(appearances=3),
    }
    return TokenMap(list(values), **(given | facts))


def test_tile_tokens_are_a_slice_of_a_variant_padded_with_its_background():
    values = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    found = tile_tokens(token_map(values), Tile(16, 32, 64, 48))
    np.testing.assert_array_equal(found, [[6, 7, 99, 99], [10, 11, 99, 99], [99] * 4])
    found = tile_tokens(token_map(values), Tile(16, 32, 64, 48), variant=1)
    np.testing.assert_array_equal(found, [[18, 19, 100, 100], [22, 23, 100, 100], [100] * 4])


def test_file_keeps_everything_and_another_tokenizer_or_mode_is_refused(tmp_path):
    values = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    path = tmp_path / "a.safetensors"
    saved = token_map([values[0], np.ascontiguousarray(values[1, :, :3])])  # scaled: narrower
    save_token_map(saved, path)
    found = load_token_map(path)
    np.testing.assert_array_equal(found.tokens[0], values[0])
    np.testing.assert_array_equal(found.tokens[1], values[1, :, :3])
    assert (found.slide, found.fingerprint, found.tokenizer) == ("s", "p", "digest")
    assert (found.downscale, found.backgrounds) == (16, (99, 100))
    assert found.variants == variants_of(TokensOptions(appearances=3), "p")[:2]
    require_tokenizer(found, "digest", path)
    with pytest.raises(HolohistoError, match="another tokenizer"):
        require_tokenizer(found, "other", path)
    require_mode(found, "frozen", path)
    with pytest.raises(HolohistoError, match="another mode"):
        require_mode(found, "window", path)


def test_a_token_map_cut_short_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    save_token_map(token_map(np.zeros((1, 30, 40), np.uint16)), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(HolohistoError, match="cannot be read"):
        load_token_map(path)


def test_tokens_of_another_slide_are_refused(tmp_path):
    of_another = token_map(np.zeros((1, 2, 2), np.uint16), slide="b")
    require_slide(of_another, "p", "b", tmp_path)
    with pytest.raises(HolohistoError, match="present content of slide a"):
        require_slide(of_another, "other", "a", tmp_path)
