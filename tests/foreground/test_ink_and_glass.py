"""Ink of pens on glass and on tissue, and glass that is not white."""

import numpy as np
import pytest
from pen_pictures import ACROSS, BESIDE, PENS, SIZE, drawn, under, with_pen

from holohisto.config.sections import CheckOptions, ForegroundOptions
from holohisto.foreground.map import find_foreground, load_tissue_facts, save_foreground
from holohisto.foreground.overview import overview_of
from holohisto.foreground.tissue import Tissue
from holohisto.slide.array import ArraySlide
from holohisto.slide.record import record_of
from holohisto.tiles.grid import Tile

YELLOWED = (235, 225, 200)
ANILINE_BLUE = (100, 150, 205)


def seen(rgb, **options):
    slide = ArraySlide(rgb.clip(0, 255).astype(np.uint8), mpp=0.5)
    record = record_of("s", slide, 0.5, None, CheckOptions())
    found = find_foreground(slide, record, ForegroundOptions(**options), None)
    pixels = Tissue(slide, record.scale, found).read(Tile(0, 0, *SIZE))
    return record, found, pixels


def pixels_of(found):
    return found.pixels((0, 0), SIZE)


def same_colour(found, other):
    np.testing.assert_allclose(found.colour.mean, other.colour.mean, atol=0.012)
    np.testing.assert_allclose(found.colour.spread, other.colour.spread, atol=0.012)


@pytest.mark.parametrize("glass", [(243, 243, 243), YELLOWED])
@pytest.mark.parametrize("pen", PENS)
def test_pen_beside_tissue_is_no_tissue_and_does_not_alter_how_tissue_is_seen(pen, glass):
    rgb, tissue = drawn(glass)
    _, plain, before = seen(rgb)
    ink = np.array(PENS[pen]) * np.array(glass) / 243
    _, found, after = seen(with_pen(rgb, ink))
    assert not (pixels_of(found) & under(BESIDE)).any()
    np.testing.assert_array_equal(found.mask, plain.mask)
    assert plain.ink == 0
    cells = 52 * 6  # the stroke covers 3.75 x 50 cells, and 2 on every side count as ink
    assert found.ink == pytest.approx(cells / (cells + plain.mask.sum()), abs=0.05)
    same_colour(found, plain)
    assert np.abs(before[tissue].astype(int) - after[tissue]).mean() < 2


@pytest.mark.parametrize("glass", [(243, 243, 243), YELLOWED])
@pytest.mark.parametrize("pen", PENS)
def test_pen_across_tissue_is_cut_out_of_it(pen, glass):
    rgb, tissue = drawn(glass)
    _, plain, _ = seen(rgb)
    ink = np.array(PENS[pen]) * np.array(glass) / 243
    _, found, pixels = seen(with_pen(rgb, ink, ACROSS, light=glass))
    mask, stroke = pixels_of(found), under(ACROSS)
    assert not (mask & stroke).any()
    assert (pixels[stroke] == 255).all()
    near = under((ACROSS[0] - 48, ACROSS[1] + 48, ACROSS[2] - 48, ACROSS[3] + 48))
    np.testing.assert_array_equal(mask[~near], pixels_of(plain)[~near])
    assert (mask & tissue & ~near).sum() > 0.97 * (tissue & ~near).sum()
    same_colour(found, plain)


@pytest.mark.parametrize("pen", ["blue", "green", "red"])
def test_pen_larger_than_the_tissue_is_found_as_well(pen):
    rgb, _ = drawn(radii=(130, 90))
    _, plain, _ = seen(rgb)
    _, found, _ = seen(with_pen(rgb, PENS[pen], (40, 180, 0, SIZE[0])))
    np.testing.assert_array_equal(found.mask, plain.mask)
    same_colour(found, plain)
    assert found.ink > 0.7  # 76 x 13 cells of ink, 320 of tissue


def test_ink_stays_tissue_where_the_option_is_off():
    rgb, _ = drawn()
    _, plain, _ = seen(rgb)
    _, found, _ = seen(with_pen(rgb, PENS["blue"]), remove_ink=False)
    assert (pixels_of(found) & under(BESIDE)).sum() == under(BESIDE).sum()
    same_colour(found, plain)  # weaker: it only does not count for the stain


@pytest.mark.parametrize(
    "tissue",
    [
        ANILINE_BLUE,
        (40, 60, 160),  # toluidine blue: dark and blue as a whole
        (120, 180, 150),  # light green
        (120, 118, 116),  # silver
        (50, 48, 46),  # silver, nearly black
        (120, 60, 130),
        (140, 90, 40),  # DAB
        (190, 40, 60),  # picrosirius red, as dense as ink
    ],
)
def test_stains_are_no_ink(tissue):
    rgb, inside = drawn(tissue=tissue)
    _, found, _ = seen(rgb)
    assert found.ink == 0
    assert (pixels_of(found) & inside).sum() > 0.97 * inside.sum()


def test_narrow_dark_blue_structures_in_pale_tissue_are_no_ink():
    rgb, _ = drawn()
    for left in range(300, 800, 40):  # nuclei and mucin up to 16 um wide
        rgb[400:640, left : left + 14] = (45, 60, 150)
        rgb[400:640:30, left : left + 32] = (45, 60, 150)
    _, plain, _ = seen(rgb)
    assert plain.ink == 0


BLOOD = (195, 45, 60)
"""Red blood cells in H&E, as dense as ink."""


def test_blood_in_tissue_stays_tissue_and_red_ink_there_is_no_stain():
    rgb, _ = drawn()
    _, plain, _ = seen(rgb)
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    pool = np.hypot(x - 560, y - 540) < 75
    rgb[pool] = BLOOD
    _, found, _ = seen(rgb)
    np.testing.assert_array_equal(found.mask, plain.mask)
    assert (pixels_of(found) & pool).sum() == pool.sum()
    assert found.ink == 0
    same_colour(found, plain)


def test_a_red_circle_around_an_area_of_the_tissue_that_reaches_the_glass_is_ink():
    rgb, _ = drawn()
    _, plain, _ = seen(rgb)
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    ring = np.abs(np.hypot(x - 400, y - 400) - 220) < 32
    rgb[ring] *= np.array(PENS["red"]) / 243
    _, found, _ = seen(rgb)
    assert not (pixels_of(found) & ring).any()
    inner = np.hypot(x - 400, y - 400) < 120
    np.testing.assert_array_equal(pixels_of(found)[inner], pixels_of(plain)[inner])
    same_colour(found, plain)


def test_narrow_red_fibres_at_the_border_of_tissue_are_no_ink():
    rgb, _ = drawn()
    for left in range(300, 800, 40):  # up to 16 um wide
        rgb[250:640, left : left + 32] = (190, 40, 50)
    assert seen(rgb)[1].ink == 0


@pytest.mark.parametrize("pen", PENS)
def test_the_overview_shows_ink_before_the_foreground_is_found(pen):
    rgb, _ = drawn()
    plain = ArraySlide(rgb.clip(0, 255).astype(np.uint8), mpp=0.5)
    assert overview_of(plain, (0.5, 0.5)).ink == 0
    inked = with_pen(rgb, PENS[pen]).clip(0, 255).astype(np.uint8)
    assert 0.1 < overview_of(ArraySlide(inked, mpp=0.5), (0.5, 0.5)).ink < 0.4


def test_the_map_keeps_the_share_of_ink(tmp_path):
    record, found, _ = seen(with_pen(drawn()[0], PENS["green"]))
    save_foreground(tmp_path / "s.tif", found, record)
    facts = load_tissue_facts(tmp_path / "s.tif")
    assert (facts.ink, facts.colour) == (found.ink, found.colour)
    assert facts.ink > 0.1


@pytest.mark.parametrize(
    "glass", [YELLOWED, (240, 235, 205), (210, 205, 190), (190, 190, 190), (180, 175, 170)]
)
def test_glass_of_any_tint_is_glass(glass):
    white, tissue = drawn()
    _, _, expected = seen(white)
    record, found, pixels = seen(drawn(glass)[0])
    assert np.abs(np.array(record.background) - glass).max() <= 3
    cells = np.kron(found.mask, np.ones((16, 16), bool))[: SIZE[1], : SIZE[0]]
    assert (cells & tissue).sum() / tissue.sum() > 0.97
    assert (cells & ~tissue).mean() < 0.06
    difference = np.abs(expected[tissue].astype(int) - pixels[tissue])
    assert difference.mean() < 5


def test_tissue_at_every_border_is_no_glass():
    rgb, _ = drawn()
    record, found, _ = seen(np.tile(rgb[450:600, 420:700], (7, 5, 1))[: SIZE[1], : SIZE[0]])
    assert record.background == (255, 255, 255)
    assert found.mask.all()
