"""The tiles of training steps: drawing, augmentation, dropout of tokens and channels."""

import numpy as np
import pytest
import torch
from training_runs import OPTIONS, SIZE, Bits, Pixels, slide, trainer

from holohisto.annotation.cells import annotated_cells
from holohisto.config.augmentation import Augmentation
from holohisto.config.training import TokensOptions
from holohisto.runtime.arithmetic import ceil_div
from holohisto.slide.scale import Scale
from holohisto.tiles.grid import Tile
from holohisto.tiles.variants import Variant, restore, variants_of
from holohisto.tokens.token_map import TokenMap
from holohisto.training.batches import drawn_variants
from holohisto.training.slides import View, stack


def test_tokens_left_out_are_a_function_of_seed_and_number():
    options = OPTIONS.model_copy(update={"token_dropout": 0.25})
    batches = [trainer(options).batches.read(step).batch for step in range(8)]
    assert np.array_equal(batches[5].tokens, trainer(options).batches.read(5).batch.tokens)
    assert not np.array_equal(batches[5].tokens < 0, batches[6].tokens < 0)
    none = trainer(OPTIONS.model_copy(update={"token_dropout": 0.0})).batches.read(5).batch
    left_out = batches[5].tokens < 0
    assert (none.tokens >= 0).all()
    assert np.array_equal(np.where(left_out, ~none.tokens, none.tokens), batches[5].tokens)


def test_each_tile_draws_how_many_of_its_tokens_are_left_out():
    """Evenly from 0 to the largest share, from the sample's own random numbers alone."""
    a_slide = slide(1)
    tile = Tile(0, 0, 320, 240)  # 20 x 15 tokens

    def share(n, largest):
        random = np.random.default_rng(n)
        tokens = View(a_slide, tile, token_dropout=largest, random=random).tokens()
        return (tokens < 0).mean()

    shares = [share(n, 0.8) for n in range(400)]
    assert shares == [share(n, 0.8) for n in range(400)]
    for n in range(20):
        assert shares[n] == pytest.approx(np.random.default_rng(n).uniform(0, 0.8), abs=0.1)
    assert np.histogram(shares, bins=4, range=(0, 0.8))[0].min() > 70
    assert max(shares) < 0.9
    assert {share(n, 0.0) for n in range(5)} == {0.0}


def test_channels_left_out_are_a_function_of_seed_and_number():
    def loss(share, state=0):
        a_trainer = trainer(OPTIONS.model_copy(update={"channel_dropout": share}))
        a_trainer.model.train()
        torch.manual_seed(state)  # must not matter
        return a_trainer.step(a_trainer.batches.read(0))

    assert loss(0.2) == loss(0.2, state=5)
    assert loss(0.2) != loss(0.0)
    assert loss(0.0) == loss(0.0, state=5)
    batches = [trainer().batches.read(step).batch for step in range(8)]
    assert batches[5].seeds == trainer().batches.read(5).batch.seeds
    assert len({seed for batch in batches for seed in batch.seeds}) == 16
    parts = batches[0].split(2)
    assert parts[0].seeds + parts[1].seeds == batches[0].seeds


def test_batch_holds_the_slices_and_knows_the_slides_end():
    a_slide = slide(1)
    tile = Tile(y=208, x=288, width=96, height=64)
    batch = stack([View(a_slide, tile)], needs_tokens=True, needs_pixels=True)
    np.testing.assert_array_equal(
        batch.rgb[0, :, :43, :45].transpose(1, 2, 0), a_slide.tissue.slide.rgb[208:, 288:]
    )
    np.testing.assert_array_equal(
        batch.tokens[0, :3, :3], a_slide.token_map.tokens[0][13:16, 18:21]
    )
    assert batch.known[0, 0, :43, :45].all()
    assert not batch.known[0, 0, 43:].any()
    assert not batch.known[0, 0, :, 45:].any()
    np.testing.assert_array_equal(
        batch.target[0, 0, :43, :45], a_slide.tissue.slide.bits[208:, 288:] > 0
    )


def test_annotated_cells_hold_the_classes_with_a_pixel():
    pixels = Pixels(5)
    pixels.bits[:, 100:] *= 4
    pixels.bits[:, 60:150] |= pixels.bits[:, 60:150] >> 2
    found = annotated_cells(Bits(pixels), SIZE, 16)
    assert found.shape == (16, 21)
    for row in range(16):
        for column in range(21):
            cell = pixels.bits[row * 16 : row * 16 + 16, column * 16 : column * 16 + 16]
            assert found[row, column] == np.bitwise_or.reduce(cell, axis=None)
    assert set(np.unique(found)) == {0, 1, 4, 5}


STILL = Augmentation(
    channel_mixing=0,
    greyscale_share=0,
    permutation_share=0,
    stain_jitter=0,
    brightness_jitter=0,
    blur_sigma=0,
)
OFF = {"augmentation": STILL, "token_dropout": 0.0}


def with_variants(a_slide, count=8):
    """The slide with a token map in which variant k holds 100 k plus the place's row."""
    options = TokensOptions(orientations=8, appearances=count - 1)
    values = []
    for k, variant in enumerate(variants_of(options, "p")):
        width, height = variant.size(SIZE)
        rows = np.arange(ceil_div(height, 16), dtype=np.uint16)[:, None]
        values.append(np.repeat(100 * k + rows, ceil_div(width, 16), axis=1))
    a_slide.token_map = TokenMap(
        values, "s", "p", "t", 16, tuple(range(900, 900 + count)), "fp32", options, Scale.whole(2)
    )
    return a_slide


def test_tokens_pixels_and_annotation_of_a_sample_are_seen_alike():
    slides = [with_variants(slide(1))]
    a_trainer = trainer(OPTIONS.model_copy(update=OFF), slides=slides)
    seen = set()
    for n in range(60):
        view = a_trainer.batches.view(n)
        batch = stack([view], needs_tokens=True, needs_pixels=True)
        k, tile = view.variant_index, view.tile
        assert batch.rgb.shape == (1, 3, 64, 96)
        assert batch.target.shape == batch.known.shape == (1, 1, 64, 96)
        assert batch.tokens.shape == (1, 4, 6)
        variant = slides[0].token_map.variants[k]
        assert view.variant.orientation == variant.orientation == k
        rgb = restore(batch.rgb[0].transpose(1, 2, 0), k)
        # Pixels have a draw of their own, here none, instead of the look of the tokens.
        as_it_is = Variant(scale=variant.scale)
        np.testing.assert_array_equal(rgb, as_it_is.read(slides[0].rgb, tile))
        y = ((np.arange(tile.height) + tile.y + 0.5) / variant.scale).astype(int)
        x = ((np.arange(tile.width) + tile.x + 0.5) / variant.scale).astype(int)
        inside = np.ix_(y < SIZE[1], x < SIZE[0])
        bits = slides[0].tissue.slide.bits[np.ix_(y[y < SIZE[1]], x[x < SIZE[0]])] > 0
        np.testing.assert_array_equal(restore(batch.target[0, 0], k)[inside], bits)
        known = restore(batch.known[0, 0], k)
        assert known[inside].all()
        assert known.sum() == bits.size
        tokens = restore(batch.tokens[0], k)
        rows = tokens[tokens < 900]
        assert (rows // 100 == k).all()
        assert tokens[0, 0] == 100 * k + tile.y // 16
        seen.add(k)
    assert seen == set(range(8))


def test_a_pixel_reader_sees_all_orientations_and_scales_unless_switched_off():
    def seen(**facts):
        options = OPTIONS.model_copy(update=facts)
        return drawn_variants([slide(1)], options, from_token_maps=False)

    every = seen(orientations=8, augmentation=Augmentation(scale_jitter=0.21))
    assert {one.orientation for one in every} == set(range(8))
    assert len(every) == len(set(every)) == 7 * 8
    scales = {one.scale for one in every}
    sevenths = (-6, -4, -2, 0, 2, 4, 6)
    assert sorted(scales) == pytest.approx([1.21 ** (n / 7) for n in sevenths])
    assert 1.0 in scales
    of_tokens = variants_of(TokensOptions(augmentation=Augmentation(scale_jitter=0.21)), "p")
    assert sorted(scales) == sorted({one.scale for one in of_tokens})
    assert seen(orientations=1, augmentation=Augmentation(scale_jitter=0.0)) == [Variant()]
