"""Pen beside tissue, and glass that is not white."""

import numpy as np
import pytest

from holohisto.config.sections import CheckOptions, ForegroundOptions
from holohisto.foreground.map import find_foreground
from holohisto.foreground.tissue import Tissue
from holohisto.slide.array import ArraySlide
from holohisto.slide.record import record_of
from holohisto.tiles.grid import Tile

SIZE = (1203, 907)
PENS = {"blue": (40, 60, 160), "green": (40, 140, 90)}


def drawn(glass=(243, 243, 243)):
    """An ellipse of stained tissue with dark dots on glass, and where it is."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    tissue = np.hypot((x - 560) / 300, (y - 540) / 230) < 1
    rgb = np.empty((SIZE[1], SIZE[0], 3))
    rgb[:] = glass
    rgb[tissue] = np.array([205, 130, 175]) * np.array(glass) / 243
    dots = tissue & (random.random(tissue.shape) < 0.06)
    rgb[dots] *= 0.6
    return rgb + random.normal(0, 3, rgb.shape), tissue


def with_pen(rgb, colour):
    rgb = rgb.copy()
    rgb[60:120, 200:1000] = np.array(colour) + np.random.default_rng(1).normal(0, 4, (60, 800, 3))
    return rgb


def seen(rgb):
    slide = ArraySlide(rgb.clip(0, 255).astype(np.uint8), mpp=0.5)
    record = record_of("s", slide, 0.5, None, CheckOptions())
    found = find_foreground(slide, record, ForegroundOptions(), None)
    pixels = Tissue(slide, record.scale, found).read(Tile(0, 0, *SIZE))
    return record, found, pixels


@pytest.mark.parametrize("pen", ["blue", "green"])
def test_coloured_pen_beside_tissue_does_not_alter_how_tissue_is_seen(pen, caplog):
    rgb, tissue = drawn()
    _, plain, before = seen(rgb)
    assert "ink" not in caplog.text
    _, found, after = seen(with_pen(rgb, PENS[pen]))
    assert "% of the tissue looks like ink of a pen, not stain" in caplog.text
    np.testing.assert_allclose(found.colour.mean, plain.colour.mean, atol=0.01)
    np.testing.assert_allclose(found.colour.spread, plain.colour.spread, atol=0.01)
    inner = np.abs(before[tissue].astype(int) - after[tissue])
    assert inner.mean() < 2


@pytest.mark.parametrize(
    "glass", [(235, 225, 200), (240, 235, 205), (210, 205, 190), (190, 190, 190), (180, 175, 170)]
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
