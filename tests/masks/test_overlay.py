"""Outlines of masks and annotation over the slide."""

import json

import numpy as np
import pytest
import shapely
from labelled_slide import LabelledSlide
from mask_verb import CLASSES, draw, run_mask
from PIL import Image

from holohisto.masks import overlay


def colours(path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture).astype(int)


def near(pixels: np.ndarray, colour: list[int]) -> np.ndarray:
    return np.abs(pixels - colour).max(axis=2) < 60


def test_overlay_shows_outlines_in_the_class_colour(tmp_path):
    slide = LabelledSlide(tmp_path, (301, 1237), 1, 0.5)
    labels = draw(slide)
    slide.write_labels(labels, CLASSES)
    slide.write_annotation((np.roll(labels & 1, 9, axis=1) * 1).astype(np.uint8))
    assert run_mask(slide, CLASSES, min_object_um2=3, overlay_side=1200) == 0
    with Image.open(tmp_path / "out" / "s1.jpg") as picture:
        pixels = np.asarray(picture).astype(int)
    orange = np.abs(pixels - [255, 128, 0]).max(axis=2) < 60
    assert orange.sum() > 100
    scale = 1237 / 1200
    left = int(10 / scale)  # edge of the rectangle, where no annotation is drawn
    assert orange[int(30 / scale), left - 2 : left + 3].any()
    assert not orange[int(50 / scale), : int(40 / scale)].any()


def test_an_object_of_two_parts_is_drawn_and_delivered_whole(tmp_path):
    slide = LabelledSlide(tmp_path, (301, 237), 1, 0.5)
    labels = np.zeros((237, 301), np.uint8)
    labels[20:60, 20:60] = labels[60:110, 60:120] = 1  # they touch by a corner
    slide.write_labels(labels, CLASSES)
    slide.write_annotation(np.roll(labels, (100, 150), axis=(0, 1)))
    assert run_mask(slide, CLASSES, min_object_um2=2, simplify_um=1) == 0
    (feature,) = json.loads((tmp_path / "out" / "s1.geojson").read_text())["features"]
    assert feature["geometry"]["type"] == "MultiPolygon"
    outline = shapely.from_geojson(json.dumps(feature["geometry"]))
    assert outline.is_valid
    assert sorted(single.area for single in outline.geoms) == [40 * 40, 50 * 60]
    assert feature["properties"]["measurements"]["Area µm^2"] == (1600 + 3000) / 4
    pixels = colours(tmp_path / "out" / "s1.jpg")
    orange, dark = near(pixels, [255, 128, 0]), pixels.max(axis=2) < 120
    for x, y in ((20, 40), (40, 20), (120, 90), (90, 110)):
        assert orange[y - 2 : y + 3, x - 2 : x + 3].any()
        x, y = x + 150, y + 100
        assert dark[y - 8 : y + 9, x - 8 : x + 9].any()  # between the dashes


@pytest.mark.parametrize(
    ("size", "factor", "side", "expected"),
    [
        ((1301, 837), 1, 700, (700, 450)),  # between whole factors
        ((837, 1301), 1, 700, (450, 700)),
        ((1301, 837), 1, 1200, (1200, 772)),
        ((1301, 837), 1, 4000, (1301, 837)),  # never larger than the slide
        ((1301, 837), 2, 1200, (651, 419)),  # nor than its working size
    ],
)
def test_overlay_has_the_asked_for_side_and_its_legend_below(
    tmp_path, size, factor, side, expected
):
    slide = LabelledSlide(tmp_path, size, factor, 0.5)
    labels = np.zeros(slide.working_size[::-1], np.uint8)
    x, y = 600 // factor, 800 // factor
    labels[y - 200 // factor : y, x - 300 // factor : x] = 1
    slide.write_labels(labels, CLASSES)
    assert run_mask(slide, CLASSES, min_object_um2=3, overlay_side=side) == 0
    pixels = colours(tmp_path / "out" / "s1.jpg")
    width, height = expected
    assert pixels.shape[1] == width
    assert 10 < pixels.shape[0] - height < 80
    assert (pixels[height + 8 :, -width // 20 :] > 245).all()  # the legend's paper
    assert near(pixels[height:], [255, 128, 0]).any()
    orange = near(pixels[:height], [255, 128, 0])
    rows, columns = np.nonzero(orange)
    scale = max(size) / max(expected)
    assert columns.max() == pytest.approx(600 / scale, abs=3)
    assert columns.min() == pytest.approx(300 / scale, abs=3)
    assert rows.max() == pytest.approx(800 / scale, abs=3)


def test_legend_of_a_narrow_picture_is_not_cut():
    picture = np.full((300, 40, 3), 128, np.uint8)
    drawn = overlay.Overlay(picture, (80, 600))
    drawn.name("glomerulus: 12 objects", "#ff8000")
    drawn.name("annotation: 13 objects", None)
    pixels = np.asarray(drawn.draw())
    assert pixels.shape[1] > 150
    assert (pixels[:300, :40] == 128).all()
    assert (pixels[:300, 40:] == 255).all()
    assert (pixels[:, -5:] == 255).all()


def test_a_picture_is_reduced_without_its_sticking_out_border():
    picture = np.zeros((5, 11, 3), np.uint8)
    picture[:, 10] = 255  # 9 of its 10 level-0 columns lie outside
    small = overlay.fitted(picture, 10.0, (101, 50), 10)
    assert small.shape == (5, 10, 3)
    assert small[:, -1].max() < 64
