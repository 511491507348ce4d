"""The tiles that train the tokenizer."""

import math

import numpy as np
import pytest
from disc_slides import drawn

from holohisto.config.augmentation import Augmentation
from holohisto.config.sections import CheckOptions, ForegroundOptions
from holohisto.config.training import TokenizerOptions
from holohisto.foreground.map import find_foreground
from holohisto.foreground.tissue import Tissue
from holohisto.slide.array import ArraySlide
from holohisto.slide.record import record_of
from holohisto.slide.scale import Scale
from holohisto.tiles.appearance import Appearance
from holohisto.tokenizer.tissue_tiles import AnnotatedTissue, TissueTiles

COLOURS = {
    "channel_mixing": 0.35,
    "greyscale_share": 0.3,
    "permutation_share": 0.5,
    "stain_jitter": 0.2,
    "brightness_jitter": 0.1,
}
STILL = dict.fromkeys((*COLOURS, "blur_sigma", "scale_jitter"), 0.0)


def options_of(batch=4, cutmix=0.0, tile=64, **augmentation):
    """f = 4; no change but those given."""
    return TokenizerOptions(
        tile=tile,
        multipliers=(1, 1, 1),
        batch=batch,
        cutmix=cutmix,
        augmentation=Augmentation(**STILL | augmentation),
    )


COLOURED, PLAIN = options_of(**COLOURS), options_of()


class Discs:
    """Annotates where a slide is darkest, as class 1 of two."""

    def __init__(self, dark):
        self.dark = dark

    def read(self, xy, size):
        (x, y), (width, height) = xy, size
        bits = np.zeros((height, width), np.uint8)
        inner = self.dark[y : y + height, x : x + width]
        bits[: inner.shape[0], : inner.shape[1]] = 2 * inner
        return bits


def slide_of(seed, light, annotated=True):
    rgb, dark = drawn(seed, light)
    slide = ArraySlide(rgb, mpp=0.5, background=(255, 255, 255))
    record = record_of("s", slide, 0.5, None, CheckOptions())
    found = find_foreground(slide, record, ForegroundOptions(common_stain=False), 0.05)
    known = (False, True) if annotated else (False, False)
    return AnnotatedTissue(
        Tissue(slide, Scale.whole(1), found), Discs(dark) if annotated else None, known
    )


@pytest.fixture(scope="module")
def source():
    return TissueTiles([slide_of(0, 220), slide_of(1, 150), slide_of(2, 220, annotated=False)])


def dark(rgb):
    return (rgb < (70, 30, 100)).all(axis=-1)


def test_all_tiles_of_a_batch_are_of_one_slide(source):
    seen = set()
    for n in range(12):
        batch = source.batch(n, 4, COLOURED, 0)
        assert batch.own.shape == batch.seen.shape == (4, 64, 64, 3)
        light = {int(t[~dark(t)][:, 0].mean()) // 40 for t in batch.own if not dark(t).all()}
        assert len(light) == 1
        seen |= light
    assert len(seen) == 2


def test_a_batch_has_one_appearance_for_its_tiles(source):
    for n in range(6):
        batch = source.batch(n, 4, COLOURED, 0)
        colours = {}
        for own, seen in zip(batch.own.reshape(-1, 3), batch.seen.reshape(-1, 3), strict=True):
            assert colours.setdefault(tuple(own), tuple(seen)) == tuple(seen)
    assert (batch.own != batch.seen).any()
    still = source.batch(3, 4, PLAIN, 0)
    np.testing.assert_array_equal(still.seen, still.own)


def test_appearances_are_standardised_for_the_slide(monkeypatch):
    slide = slide_of(0, 220)
    seen = []
    on = Appearance.on
    monkeypatch.setattr(
        Appearance, "on", lambda self, tissue: seen.append(tissue) or on(self, tissue)
    )
    TissueTiles([slide]).batch(0, 1, COLOURED, 0)
    assert seen == [slide.tissue.foreground.common_colour]


def test_masks_are_turned_with_their_pixels(source):
    found = 0
    for n in range(16):
        batch = source.batch(n, 4, COLOURED, 0)
        assert batch.annotated.shape == (4, 2, 64, 64)
        assert not batch.annotated[:, 0].any()
        if batch.known[1]:
            np.testing.assert_array_equal(batch.annotated[:, 1], dark(batch.own))
            found += batch.annotated.any(axis=(1, 2, 3)).sum()
        else:
            assert not batch.annotated.any()
            assert not batch.known.any()
    assert found > 5


def test_about_half_of_the_tiles_hold_an_annotated_object():
    source = TissueTiles([slide_of(0, 220)])
    batch = source.batch(0, 60, PLAIN, 0)
    with_object = batch.annotated.any(axis=(1, 2, 3)).mean()
    # A point of an annotated cell lies in half of them; by chance alone a twelfth hold a part.
    assert 0.4 < with_object < 0.7
    bare = TissueTiles([slide_of(0, 220, annotated=False)]).batch(0, 60, PLAIN, 0)
    assert dark(bare.own).any(axis=(1, 2)).mean() < 0.2


def test_all_orientations_occur():
    source = TissueTiles([slide_of(0, 220)])
    y, x = np.mgrid[:64, :64]
    ramp = np.stack([y, x + 100, y], axis=2).astype(np.uint8)

    class Ramp:
        foreground = source.slides[0].tissue.foreground
        slide, scale = source.slides[0].tissue.slide, Scale.whole(1)

        def read(self, _tile):
            return ramp

    batch = TissueTiles([AnnotatedTissue(Ramp(), None, ())]).batch(0, 80, PLAIN, 0)
    assert len({tile.tobytes() for tile in batch.own}) == 8


def test_a_batch_is_a_function_of_seed_and_number(source):
    one, again = (source.batch(5, 3, COLOURED, 7) for _ in range(2))
    assert all(np.array_equal(*pair) for pair in zip(one, again, strict=True))
    for other in (source.batch(6, 3, COLOURED, 7), source.batch(5, 3, COLOURED, 8)):
        assert not np.array_equal(one.own, other.own)


def test_a_step_has_about_four_tiles_of_each_stain(source):
    sizes = {
        batch: [len(part.own) for part in source.step(0, options_of(batch), 0)]
        for batch in (1, 4, 8, 11, 12)
    }
    assert sizes == {1: [1], 4: [4], 8: [4, 4], 11: [5, 6], 12: [4, 4, 4]}
    options = options_of(8, **COLOURS)
    parts = [part.seen.tobytes() for step in range(5) for part in source.step(step, options, 0)]
    assert len(set(parts)) == 10
    assert parts[9] == source.batch(9, 4, options, 0).seen.tobytes()


def test_tiles_and_masks_are_scaled_alike():
    source = TissueTiles([slide_of(0, 220)])
    plain, scaled = (
        source.batch(0, 30, options_of(tile=192, scale_jitter=jitter), 0) for jitter in (0.0, 0.8)
    )
    # Pixels of the disc's edge are interpolated, its mask is not.
    assert (dark(scaled.own) != scaled.annotated[:, 1]).mean() < 0.01
    whole = math.pi * 60**2
    assert plain.annotated[:, 1].sum(axis=(1, 2)).max() == pytest.approx(whole, rel=0.01)
    assert scaled.annotated[:, 1].sum(axis=(1, 2)).max() > 1.5 * whole


def test_pairs_of_tiles_exchange_a_rectangle(source):
    apart, mixed = (source.batch(2, 4, options_of(cutmix=share), 0) for share in (0.0, 1.0))
    for first in (0, 2):
        pair, exchanged = (
            {t.tobytes() for t in b.own[first : first + 2].reshape(-1, 3)} for b in (apart, mixed)
        )
        assert pair == exchanged
        moved = (apart.own[first] != mixed.own[first]).any(axis=2)
        rows, columns = np.flatnonzero(moved.any(axis=1)), np.flatnonzero(moved.any(axis=0))
        inner = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        assert all(s.start % 4 == s.stop % 4 == 0 for s in inner)
        np.testing.assert_array_equal(mixed.own[first][inner], apart.own[first + 1][inner])
        np.testing.assert_array_equal(
            mixed.annotated[first][:, *inner], apart.annotated[first + 1][:, *inner]
        )
    np.testing.assert_array_equal(mixed.seen, mixed.own)


def test_only_what_the_encoder_sees_is_blurred(source):
    softened = 0
    for n in range(8):
        sharp, blurred = (source.batch(n, 4, options_of(blur_sigma=s), 0) for s in (0.0, 4.0))
        np.testing.assert_array_equal(sharp.own, blurred.own)
        noise = [np.abs(np.diff(b.seen.astype(int), axis=2)).mean() for b in (sharp, blurred)]
        softened += noise[1] < 0.6 * noise[0]
    assert 2 <= softened <= 6  # half of the batches are not blurred


def test_slides_are_drawn_by_the_area_of_their_tissue():
    large, small = slide_of(0, 220, annotated=False), slide_of(1, 150, annotated=False)
    small.tissue.foreground.mask[:, 11:] = False
    source = TissueTiles([large, small])
    share = np.mean([source.batch(n, 1, PLAIN, 0).own.mean() < 130 for n in range(120)])
    expected = small.tissue.foreground.share / (1 + small.tissue.foreground.share)
    assert share == pytest.approx(expected, abs=0.1)


def test_an_example_is_tiles_of_one_slide_the_same_for_every_seed(source):
    lights = set()
    for n in range(8):
        tiles = source.example(n, 5, 96)
        assert [tile.shape for tile in tiles] == [(96, 96, 3)] * 5
        assert len({tile.tobytes() for tile in tiles}) == 5
        light = {int(tile[~dark(tile)][:, 0].mean()) // 40 for tile in tiles}
        assert len(light) == 1
        lights |= light
        again = source.example(n, 5, 96)
        assert all(np.array_equal(*pair) for pair in zip(tiles, again, strict=True))
    assert len(lights) == 2
