"""Tokens of turned, scaled and recoloured slides; windows."""

import numpy as np
import pytest
import torch
from encoded_picture import encode, frozen_tokenizer, picture, reader, tokenizer

from holohisto.errors import HolohistoError
from holohisto.tiles.appearance import Appearance, Strength
from holohisto.tiles.grid import Tile
from holohisto.tiles.variants import Variant, orient, restore
from holohisto.tokenizer.norm import Statistics
from holohisto.tokens.encoders import LocalEncoder, encoder_for


@pytest.fixture(scope="module")
def model():
    return frozen_tokenizer()


def attentive():
    model = tokenizer(attention=(4,), middle_attention=True, norm_groups=4, scored=True)
    model.quantize.proj.weight.normal_()
    return model


@pytest.mark.parametrize("orientation", [1, 2, 4, 7])
def test_a_turned_crop_is_a_turned_slice_of_its_variant(model, orientation):
    appearance = Appearance.draw(
        Strength(stain=0.3, brightness=0.1, blur=1.0), np.random.default_rng(0)
    )
    variant = Variant(orientation, 1.0, appearance)
    encoder = LocalEncoder(model)
    as_it_is, found = encode(encoder, block=512), encode(encoder, variant=variant)
    assert (as_it_is != found).mean() > 0.5
    crop = variant.read(reader(picture()), Tile(160 - 224, 320 - 224, 128 + 448, 96 + 448))
    seen = np.ascontiguousarray(orient(crop, orientation))
    alone = model.tokens(torch.from_numpy(seen).permute(2, 0, 1)[None])[0, 14:-14, 14:-14]
    np.testing.assert_array_equal(alone, orient(found[10:16, 20:28], orientation))
    turned_tokens = orient(as_it_is[10:16, 20:28], orientation)
    assert (alone.numpy() != turned_tokens).any()


def test_a_scaled_slide_is_one_picture_too(model):
    variant = Variant(3, 0.8)
    needed = np.ones((20, 33), bool)
    found = encode(LocalEncoder(model), needed, variant=variant)
    assert found.shape == (20, 33)
    crop = variant.read(reader(picture()), Tile(160 - 224, 320 - 224, 128 + 448, 96 + 448))
    seen = np.ascontiguousarray(orient(crop, 3))
    alone = model.tokens(torch.from_numpy(seen).permute(2, 0, 1)[None])[0, 14:-14, 14:-14]
    np.testing.assert_array_equal(alone, orient(found[10:16, 20:28], 3))


def test_windows_are_encoded_by_themselves_at_their_own_statistics():
    made = attentive()
    encoder = encoder_for(made, "window")
    found = encode(encoder)
    assert len(np.unique(found)) > 5
    rgb = reader(picture())(Tile(256, 256, 256, 256))
    made.use(Statistics.NATIVE)
    alone = made.tokens(torch.from_numpy(rgb).permute(2, 0, 1)[None])[0]
    np.testing.assert_array_equal(found[16:25, 16:32], alone[:9])
    np.testing.assert_array_equal(encode(encoder, block=1024), found)
    turned = encode(encoder, variant=Variant(6), block=512)
    seen = np.ascontiguousarray(orient(rgb, 6))
    alone = made.tokens(torch.from_numpy(seen).permute(2, 0, 1)[None])[0]
    np.testing.assert_array_equal(turned[16:25, 16:32], restore(alone.numpy(), 6)[:9])


def test_a_tokenizer_with_attention_cannot_be_frozen():
    with pytest.raises(HolohistoError, match=r"tokens.mode.*attention.*allowed window, online"):
        encoder_for(attentive(), "frozen")
