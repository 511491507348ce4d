"""Tokens by blocks are those of the whole image."""

import numpy as np
import pytest
import torch
from encoded_picture import SIZE, encode, frozen_tokenizer, picture, reader

from holohisto.runtime.journal import Journal
from holohisto.tiles.grid import Tile
from holohisto.tiles.variants import Variant
from holohisto.tokenizer.vqgan import VQGAN
from holohisto.tokens import encoders
from holohisto.tokens.encode import blocks
from holohisto.tokens.encoders import LocalEncoder, _subtiles


@pytest.fixture(scope="module")
def model():
    return frozen_tokenizer()


def whole_image(model, rgb, colour=(240, 240, 240)):
    """All tokens in one piece, by the model itself, the picture in a frame of background."""
    wide = np.empty((SIZE[1] + 5 + 512, SIZE[0] + 5 + 512, 3), np.uint8)
    wide[:] = colour
    wide[256 : 256 + SIZE[1], 256 : 256 + SIZE[0]] = rgb
    found = model.tokens(torch.from_numpy(wide[:912, :1168]).permute(2, 0, 1)[None])[0]
    return found[16 : 16 + 25, 16 : 16 + 41].numpy()


@pytest.mark.parametrize("block", [256, 512, 1024])
def test_tokens_by_blocks_are_those_of_the_whole_image(model, block):
    whole = whole_image(model, picture())
    assert len(np.unique(whole)) > 20
    np.testing.assert_array_equal(encode(LocalEncoder(model), block=block), whole)


@pytest.mark.parametrize("halo", [64, 96])
def test_with_too_small_a_halo_they_are_not(model, halo):
    found = encode(LocalEncoder(model, halo=halo))
    assert (found == whole_image(model, picture())).mean() < 0.995


def test_one_pass_and_two_phases_have_the_same_latents(model):
    encoder = LocalEncoder(model)
    read = reader(picture())
    rgb = read(Tile(-encoder.context, -encoder.context, *[768 + 2 * encoder.context] * 2))
    two = encoder.latents(rgb, np.ones((48, 48), bool))
    inner = rgb[encoder.margin : -encoder.margin, encoder.margin : -encoder.margin]
    pixels = torch.from_numpy(np.ascontiguousarray(inner)).permute(2, 0, 1)[None]
    one = model.latents(model.pixels(pixels))[0, 14:-14, 14:-14]
    assert (two - one).abs().max() <= 1e-5 * one.abs().max()


def test_only_subtiles_that_needed_tokens_depend_on_are_encoded(model, monkeypatch):
    needed = np.zeros((36, 36), bool)
    needed[:3, :3] = True
    encoder = LocalEncoder(model)
    side = 576 + 2 * encoder.context
    rgb = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    every = encoder.latents(rgb, np.ones_like(needed))[:3, :3]
    seen = []
    shallow = VQGAN.shallow

    def counting(self, x):
        seen.append(x.shape[0])
        return shallow(self, x)

    monkeypatch.setattr(VQGAN, "shallow", counting)
    torch.testing.assert_close(encoder.latents(rgb, needed)[:3, :3], every, rtol=0, atol=0)
    assert sum(seen) == 1 < len(_subtiles((576 + 448, 576 + 448), 16)[1]) == 4


def test_tokens_do_not_depend_on_threads_or_on_how_many_subtiles_go_at_once(model, monkeypatch):
    encoder = LocalEncoder(model)
    alone = encode(encoder, block=1024)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        np.testing.assert_array_equal(encode(encoder, block=1024), alone)
    finally:
        torch.set_num_threads(threads)
    monkeypatch.setattr(encoders, "_batches", lambda corners, device: [corners[:3], corners[3:]])
    np.testing.assert_array_equal(encode(encoder, block=1024), alone)


def test_a_crop_is_a_slice_of_the_map(model):
    whole = encode(LocalEncoder(model), block=1024)
    read = reader(picture())
    random = np.random.default_rng(1)
    for _ in range(5):
        y, x = (16 * int(random.integers(length - 6)) for length in whole.shape)
        crop = read(Tile(y - 224, x - 224, 96 + 448, 80 + 448))
        found = model.tokens(torch.from_numpy(crop).permute(2, 0, 1)[None])[0, 14:19, 14:20]
        part = whole[y // 16 : y // 16 + 5, x // 16 : x // 16 + 6]
        np.testing.assert_array_equal(found[: part.shape[0], : part.shape[1]], part)


def test_only_what_is_needed_is_read_and_the_rest_is_background(model):
    needed = np.zeros((25, 41), bool)
    needed[3:5, 29:32] = True
    seen = []
    read = reader(picture())

    def counting(tile):
        seen.append(tile)
        return read(tile)

    encoder = LocalEncoder(model)
    found = encode(encoder, needed, read=counting)
    assert seen == [Tile(-240, 448 - 240, 224 + 480, 208 + 480)]
    assert (found[~needed] == 63).all()
    whole = encode(encoder, block=1024)
    np.testing.assert_array_equal(found[needed], whole[needed])


@pytest.mark.parametrize(
    ("size", "block", "unit", "expected"),
    [
        ((1003, 771), 1024, 16, [(0, 0, 1008, 784)]),
        ((1003, 771), 256, 256, [(y, x, 256, 512) for y in (0, 512) for x in (0, 256, 512, 768)]),
        ((4119, 2500), 2048, 16, [(0, 0, 2064, 2512), (0, 2064, 2064, 2512)]),
        ((640, 516), 2048, 16, [(0, 0, 640, 528)]),
    ],
)
def test_blocks_are_equal_without_a_narrow_rest(size, block, unit, expected):
    found = [(t.y, t.x, t.width, t.height) for t in blocks(size, block, unit)]
    assert found == expected


def test_an_interrupted_run_resumes_after_its_last_block(model, tmp_path):
    whole = encode(LocalEncoder(model))
    read, calls = reader(picture()), []

    def failing(tile):
        calls.append(tile)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return read(tile)

    encoder = LocalEncoder(model)
    with Journal(tmp_path / "j", "a") as journal:
        encode(encoder, variant=Variant(1), journal=journal, number=0)
        with pytest.raises(KeyboardInterrupt):
            encode(encoder, journal=journal, number=1, read=failing)
    encoded = []

    class Counting(LocalEncoder):
        def __call__(self, rgb, needed):
            encoded.append(rgb.shape)
            return super().__call__(rgb, needed)

    with Journal(tmp_path / "j", "a") as journal:
        again = encode(Counting(model), journal=journal, number=1)
    np.testing.assert_array_equal(again, whole)
    assert len(encoded) == 2  # of six blocks
