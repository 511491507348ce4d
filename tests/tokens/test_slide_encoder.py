"""Tokens at the statistics of a slide are a function of slide and tokenizer alone."""

import numpy as np
import pytest
import torch
from encoded_picture import SIZE, picture, slide_encoder, tokenizer

from holohisto.foreground.tissue import Tissue
from holohisto.tiles.appearance import Appearance
from holohisto.tiles.grid import Tile
from holohisto.tiles.variants import Variant, orient
from holohisto.tokenizer.calibration import calibrate
from holohisto.tokenizer.norm import Statistics
from holohisto.tokens import slide_encoder as slide_encoder_module
from holohisto.tokens.needed import tissue_squares

MIXING = ((0.6, 0.4, 0.0), (0.0, 0.5, 0.5), (0.7, 0.0, 0.3))
LOOK = Variant(5, 0.9, Appearance(mixing=MIXING, shift=(0.05, 0.0, -0.05)))


@pytest.fixture(scope="module")
def encoder():
    return slide_encoder()


def tokens_of(encoder, variant=Variant()):  # noqa: B008
    return encoder.encode(variant).encoded.tokens


def kept(model):
    return torch.cat([norm.mean for norm in model.norms])


def at_once(model, rgb):
    """Tokens of a picture, (height, width, 3), without its halo of 14 tokens."""
    pixels = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None]
    return model.tokens(pixels)[0, 14:-14, 14:-14].numpy()


def test_tokens_by_blocks_of_any_size_are_those_of_the_whole_slide(encoder):
    found = [tokens_of(slide_encoder(block=block)) for block in (256, 512, 1024)]
    model = tokenizer(codebook=64, dimension=3, levels=(4, 4, 4))
    squares = tissue_squares(np.ones((25, 41), bool), 16, 4, 256)
    calibrate(model, [encoder.tissue.read(square) for square in squares])
    around = Tile(-224, -224, 41 * 16 + 448, 25 * 16 + 448)
    whole = at_once(model, encoder.tissue.read(around))
    assert len(np.unique(whole)) > 20
    for tokens in found:
        np.testing.assert_array_equal(tokens, whole)


def test_a_crop_is_a_slice(encoder):
    whole, model = tokens_of(encoder), encoder.encoder.model
    random = np.random.default_rng(1)
    for _ in range(4):
        y, x = (int(random.integers(length - 5)) for length in whole.shape)
        crop = encoder.tissue.read(Tile(16 * y - 224, 16 * x - 224, 80 + 448, 80 + 448))
        np.testing.assert_array_equal(at_once(model, crop), whole[y : y + 5, x : x + 5])


def test_statistics_are_those_of_each_variant_whatever_came_before(encoder):
    original, model = tokens_of(encoder), encoder.encoder.model
    statistics = kept(model)
    look = tokens_of(encoder, LOOK)
    assert look.shape == (23, 37)
    assert (kept(model) - statistics).abs().max() > 0.01
    needed = encoder.needed(LOOK)
    squares = [encoder.read(LOOK, square) for square in tissue_squares(needed, 16, 4, 256)]
    adapted = kept(model)
    calibrate(model, [np.ascontiguousarray(orient(square, 5)) for square in squares])
    torch.testing.assert_close(kept(model), adapted, rtol=0, atol=0)
    np.testing.assert_array_equal(tokens_of(encoder), original)
    torch.testing.assert_close(kept(model), statistics, rtol=0, atol=0)
    fresh = slide_encoder()
    np.testing.assert_array_equal(tokens_of(fresh, LOOK), look)


def test_a_crop_of_a_variant_is_a_slice_of_it(encoder):
    whole, model = tokens_of(encoder, LOOK), encoder.encoder.model
    crop = encoder.read(LOOK, Tile(160 - 224, 96 - 224, 80 + 448, 64 + 448))
    found = at_once(model, orient(crop, 5))
    np.testing.assert_array_equal(found, orient(whole[10:14, 6:11], 5))


def agreement(first, second):
    return (first == second).mean()


def test_tokens_at_own_statistics_outlast_a_change_of_contrast(encoder):
    plain = tokens_of(encoder)
    paler = (127.5 + 0.9 * (picture() - 127.5)).round().astype(np.uint8)
    other = slide_encoder(rgb=paler)
    own = agreement(tokens_of(other), plain)
    encoder.adapt()
    other.encoder.model.use(Statistics.FROZEN)
    for norm, foreign in zip(other.encoder.model.norms, encoder.encoder.model.norms, strict=True):
        norm.mean.copy_(foreign.mean)
        norm.variance.copy_(foreign.variance)
    around = Tile(-224, -224, 41 * 16 + 448, 25 * 16 + 448)
    foreign = agreement(at_once(other.encoder.model, other.tissue.read(around)), plain)
    assert own > 0.5
    assert own > foreign + 0.15


def test_two_stains_of_a_slide_have_nearly_the_same_tokens_in_the_common_stain():
    original = 60 + picture() // 2
    density = np.array([1.2, 0.8, 1.1]) * -np.log((original + 1.0) / 256) + [0.0, 0.1, 0.05]
    restained = np.rint(256 * np.exp(-density) - 1).astype(np.uint8)
    in_common, as_they_are = (
        [tokens_of(slide_encoder(rgb=rgb, common_stain=common)) for rgb in (original, restained)]
        for common in (True, False)
    )
    assert agreement(*in_common) > 0.9
    assert agreement(*as_they_are) < agreement(*in_common) - 0.2


def test_looks_are_standardised_for_the_slides_own_colour():
    encoder = slide_encoder(rgb=60 + picture() // 2, common_stain=True)
    tile = Tile(32, 48, 96, 80)
    look = LOOK.appearance.on(encoder.tissue.foreground.common_colour)
    expected = Variant(5, 0.9, look).read(encoder.tissue.read, tile)
    np.testing.assert_array_equal(encoder.read(LOOK, tile), expected)
    plain = LOOK.read(encoder.tissue.read, tile)
    assert (plain != expected).mean() > 0.5


def test_a_slide_without_tissue_is_all_background():
    encoder = slide_encoder()
    encoder.tissue.foreground.mask[:] = False
    found = encoder.encode()
    assert not found.needed.any()
    assert (found.encoded.tokens == found.background).all()


def test_windows_need_no_statistics():
    encoder = slide_encoder(mode="window")
    encoder.adapt()
    model = encoder.encoder.model
    assert all(norm.statistics is Statistics.NATIVE for norm in model.norms)
    assert isinstance(encoder.tissue, Tissue)
    alone = model.tokens(torch.from_numpy(picture()[:256, :256]).permute(2, 0, 1)[None])[0]
    np.testing.assert_array_equal(tokens_of(encoder)[:16, :16], alone)
    assert encoder.size == SIZE


@pytest.mark.parametrize("variant", [Variant(), LOOK])
def test_another_order_of_the_colours_is_that_of_every_variant(monkeypatch, variant):
    stained = slide_encoder(common_stain=True)
    tile, colour = Tile(16, 32, 96, 80), stained.tissue.foreground.common_colour
    plain = Appearance(mixing=((0, 0, 1), (1, 0, 0), (0, 1, 0))).on(colour)
    monkeypatch.setattr(slide_encoder_module, "usual_order", lambda model, tiles, colour: (2, 0, 1))
    exchanged = slide_encoder(common_stain=True)
    assert exchanged.order == (2, 0, 1)
    shown = exchanged.read(Variant(), tile)
    np.testing.assert_array_equal(shown, plain.apply(stained.tissue.read(tile)))
    rows = np.array(variant.appearance.mixing)
    both = Appearance(
        mixing=tuple(map(tuple, rows @ np.array(plain.mixing))), shift=variant.appearance.shift
    )
    expected = Variant(variant.orientation, variant.scale, both.on(colour))
    np.testing.assert_array_equal(
        exchanged.read(variant, tile), expected.read(stained.tissue.read, tile)
    )
