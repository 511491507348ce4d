import numpy as np
import pytest

from holohisto.config.augmentation import Augmentation
from holohisto.config.training import TokensOptions
from holohisto.tiles.appearance import Appearance
from holohisto.tiles.grid import Tile
from holohisto.tiles.variants import (
    Variant,
    orient,
    resample,
    resample_labels,
    restore,
    transposes,
    variants_of,
)

SIZE = (203, 151)


@pytest.mark.parametrize("orientation", range(8))
def test_restore_undoes_orient(orientation):
    array = np.arange(5 * 7 * 3).reshape(5, 7, 3)
    turned = orient(array, orientation)
    assert turned.shape == ((7, 5, 3) if transposes(orientation) else (5, 7, 3))
    np.testing.assert_array_equal(restore(turned, orientation), array)


def test_the_eight_orientations_are_those_of_a_square():
    square = np.arange(9).reshape(3, 3)
    found = {orient(square, k).tobytes() for k in range(8)}
    expected = {
        np.rot90(flipped, turns).tobytes()
        for flipped in (square, square[::-1])
        for turns in range(4)
    }
    assert found == expected
    np.testing.assert_array_equal(orient(square, 0), square)


@pytest.mark.parametrize(
    ("orientations", "appearances", "turns", "different"),
    [
        (1, 0, [0], 1),
        (8, 0, list(range(8)), 1),
        (1, 3, [0] * 4, 4),
        (8, 3, list(range(8)), 4),
        (8, 9, [*range(8), 0, 1], 10),
    ],
)
def test_orientations_and_appearances_advance_together(orientations, appearances, turns, different):
    options = TokensOptions(orientations=orientations, appearances=appearances)
    found = variants_of(options, "f")
    assert found[0] == Variant()
    assert [variant.orientation for variant in found] == turns
    assert len({(variant.scale, variant.appearance) for variant in found}) == different
    assert len(found) == options.variants


def test_permuted_looks_take_every_order_of_the_colours_in_turn():
    colours = dict.fromkeys(
        ("channel_mixing", "greyscale_share", "stain_jitter", "brightness_jitter", "blur_sigma"), 0
    )
    options = TokensOptions(
        appearances=10, augmentation=Augmentation(permutation_share=0.5, **colours)
    )
    orders = {}
    for slide in "ab":
        looks = [np.array(v.appearance.mixing) for v in variants_of(options, slide)]
        assert [(look == np.eye(3)).all() for look in looks] == [True, *[True, False] * 5]
        assert all((np.sort(look) == [0, 0, 1]).all() for look in looks)
        orders[slide] = [look.argmax(axis=1).tolist() for look in looks[2::2]]
        assert sorted(orders[slide]) == [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]
    assert orders["a"] != orders["b"]


def test_looks_are_the_slides_own_but_for_the_scales():
    options = TokensOptions(
        orientations=1, appearances=4, augmentation=Augmentation(scale_jitter=0.25)
    )
    a, b = variants_of(options, "a"), variants_of(options, "b")
    assert a == variants_of(options, "a")
    scales = [1, 1.25**-0.75, 1.25**-0.25, 1.25**0.25, 1.25**0.75]
    assert [one.scale for one in a] == [one.scale for one in b] == pytest.approx(scales)
    assert all(x.appearance != y.appearance for x, y in zip(a[1:], b[1:], strict=True))


def test_every_part_can_be_switched_off():
    off = dict.fromkeys(Augmentation.model_fields, 0)
    assert set(
        variants_of(
            TokensOptions(orientations=1, appearances=3, augmentation=Augmentation(**off)), "f"
        )
    ) == {Variant()}


def picture():
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    return np.stack([x, y, (x + y) // 2], axis=2).astype(np.uint8)


def read(tile):
    """The ramp goes on outside, as far as uint8 does."""
    y, x = np.mgrid[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width]
    return np.clip(np.stack([x, y, (x + y) // 2], axis=2), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("scale", [0.75, 1.3])
def test_a_scaled_ramp_has_the_value_of_its_place(scale):
    tile = Tile(40, 56, 64, 48)
    found = resample(read, tile, scale).astype(float)
    x = (np.arange(56, 120) + 0.5) / scale - 0.5
    assert np.abs(found[:, :, 0] - x[None]).max() <= 0.5 + 1e-4
    y = (np.arange(40, 88) + 0.5) / scale - 0.5
    assert np.abs(found[:, :, 1] - y[:, None]).max() <= 0.5 + 1e-4


@pytest.mark.parametrize("scale", [0.75, 1.0, 1.3])
def test_parts_of_a_seen_slide_fit(scale):
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)

    def of_noise(tile):
        return noise[tile.y + 40 :, tile.x + 40 :][: tile.height, : tile.width]

    variant = Variant(0, scale, Appearance(shift=(0.1, 0.1, 0.1), blur=0.9))
    whole = variant.read(of_noise, Tile(0, 0, 160, 128))
    part = variant.read(of_noise, Tile(32, 48, 64, 48))
    np.testing.assert_array_equal(part, whole[32:80, 48:112])
    if scale == 1:
        direct = variant.appearance.apply(noise)[40 : 40 + 128, 40 : 40 + 160]
        np.testing.assert_array_equal(whole, direct)


@pytest.mark.parametrize("scale", [0.6, 1.0, 1.7])
def test_labels_are_those_of_the_nearest_pixel(scale):
    bits = np.random.default_rng(0).integers(0, 2, (200, 200, 2)).astype(bool)

    def of_bits(tile):
        return bits[tile.y :, tile.x :][: tile.height, : tile.width]

    found = resample_labels(of_bits, Tile(16, 32, 40, 24), scale)
    y = ((np.arange(16, 40) + 0.5) / scale).astype(int)
    x = ((np.arange(32, 72) + 0.5) / scale).astype(int)
    np.testing.assert_array_equal(found, bits[np.ix_(y, x)])


def test_size_of_a_scaled_slide_covers_it():
    assert Variant(0, 1.0).size(SIZE) == SIZE
    assert Variant(4, 1.3).size(SIZE) == (264, 197)
