"""All variants of a slide are encoded from one read of it."""

import numpy as np
import pytest
from encoded_picture import SIZE, slide_encoder

from holohisto.runtime.journal import Journal
from holohisto.tiles import shared_reads
from holohisto.tiles.appearance import Appearance
from holohisto.tiles.variants import Variant

MIXING = ((0.6, 0.4, 0.0), (0.0, 0.5, 0.5), (0.7, 0.0, 0.3))
VARIANTS = [
    Variant(),
    Variant(5, 0.9, Appearance(mixing=MIXING, shift=(0.05, 0.0, -0.05))),
    Variant(2, 1.2, Appearance(blur=1.0)),
]


@pytest.fixture(autouse=True)
def _small_squares(monkeypatch):
    monkeypatch.setattr(shared_reads, "SIDE", 160)


@pytest.fixture(scope="module")
def alone():
    """Tokens and background of each variant, encoded by itself."""
    found = [slide_encoder().encode(variant) for variant in VARIANTS]
    assert len({each.encoded.tokens.shape for each in found}) == 3
    return [(each.encoded.tokens, each.background) for each in found]


def same(found, alone) -> None:
    for each, (tokens, background) in zip(found, alone, strict=True):
        np.testing.assert_array_equal(each.encoded.tokens, tokens)
        assert each.background == background


@pytest.mark.parametrize(("block", "readers"), [(256, 1), (256, 3), (512, 2), (1024, 4)])
def test_variants_encoded_together_have_the_tokens_that_they_have_alone(alone, block, readers):
    same(slide_encoder(block=block).encode_all(VARIANTS, readers=readers), alone)


def test_the_slide_is_read_once_for_all_variants(monkeypatch):
    encoder = slide_encoder()
    read, pixels = type(encoder.tissue).read, []

    def counting(self, tile):
        pixels.append(tile.width * tile.height)
        return read(self, tile)

    monkeypatch.setattr(type(encoder.tissue), "read", counting)
    encoder.encode_all(VARIANTS)
    assert sum(pixels) == SIZE[0] * SIZE[1]


def test_an_interrupted_run_goes_on_with_the_blocks_that_are_left(alone, tmp_path, monkeypatch):
    encoder = slide_encoder()
    encode, calls = type(encoder.encoder).__call__, []

    def failing(self, rgb, needed):
        calls.append(rgb.shape)
        if len(calls) == 12:  # three of them for the background of each variant
            raise KeyboardInterrupt
        return encode(self, rgb, needed)

    monkeypatch.setattr(type(encoder.encoder), "__call__", failing)
    with Journal(tmp_path / "j", "a") as journal, pytest.raises(KeyboardInterrupt):
        encoder.encode_all(VARIANTS, journal)
    before, again = len(calls), slide_encoder()
    with Journal(tmp_path / "j", "a") as journal:
        same(again.encode_all(VARIANTS, journal), alone)
    blocks = 3 * 6
    assert len(calls) - before == 3 + blocks - 8
