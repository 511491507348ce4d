"""The file of a token map."""

from fractions import Fraction

import numpy as np
import pytest

from holohisto.config.training import TokensOptions
from holohisto.errors import HolohistoError
from holohisto.slide.scale import Scale
from holohisto.tiles.grid import Tile
from holohisto.tiles.variants import variants_of
from holohisto.tokens.token_map import (
    TokenMap,
    load_token_map,
    require_mode,
    require_precision,
    require_scale,
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
        "precision": "fp32",
        "options": TokensOptions(appearances=3),
        "scale": Scale(Fraction(20, 13), Fraction(2)),
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
    assert found.scale == saved.scale
    require_scale(found, Scale(Fraction(20, 13), Fraction(2)), path)
    with pytest.raises(HolohistoError, match=r"found 1\.5385 x 2 level-0.*; allowed 2\)"):
        require_scale(found, Scale.whole(2), path)
    require_tokenizer(found, "digest", path)
    with pytest.raises(HolohistoError, match="another tokenizer"):
        require_tokenizer(found, "other", path)
    require_mode(found, "frozen", path)
    with pytest.raises(HolohistoError, match="another mode"):
        require_mode(found, "window", path)


@pytest.mark.parametrize(("own", "other"), [("fp32", "bf16"), ("bf16", "fp32")])
def test_file_keeps_the_precision_and_a_map_of_another_is_refused(tmp_path, own, other):
    path = tmp_path / "a.safetensors"
    save_token_map(token_map(np.zeros((1, 2, 2), np.uint16), precision=own), path)
    found = load_token_map(path)
    assert (found.precision, found.options.precision) == (own, "auto")
    require_precision(found, own, path)
    with pytest.raises(HolohistoError) as refused:
        require_precision(found, other, path)
    assert str(refused.value) == (
        f"{path}: token map is of another precision than the segmenter's, so its tokens differ"
        f" (found {own}; allowed {other}); set tokens.precision: {other}, and compute the token map"
        " again (`auto` is bf16 on GPUs and fp32 on CPUs)"
    )


def test_a_map_without_precision_or_of_an_unknown_one_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    save_token_map(token_map(np.zeros((1, 2, 2), np.uint16), precision="fp16"), path)
    with pytest.raises(HolohistoError, match="cannot be read"):
        load_token_map(path)


def test_a_map_of_the_format_before_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    monkeypatch.setattr("holohisto.tokens.token_map.FORMAT", "holohisto-tokens-6")
    save_token_map(token_map(np.zeros((1, 2, 2), np.uint16)), path)
    monkeypatch.undo()
    with pytest.raises(HolohistoError, match="tokens-6; allowed holohisto-tokens-7"):
        load_token_map(path)


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
