"""Touching objects are split at their necks."""

import json

import numpy as np
import pytest
import tifffile
from labelled_slide import LabelledSlide, masks_and_scores
from objects import SQUARE, bands_of, delivered
from scipy import ndimage

from holohisto.config.config import Config
from holohisto.config.parsing import parse_config
from holohisto.config.sections import MaskOptions
from holohisto.config.steps import as_json
from holohisto.errors import HolohistoError
from holohisto.masks import cleaning, necks
from holohisto.masks import runs as rle
from holohisto.masks.cleaning import Probability
from holohisto.runtime.arithmetic import ceil_div


def disc(shape: tuple[int, int], x: float, y: float, radius: float) -> np.ndarray:
    row, column = np.indices(shape)
    return (column - x) ** 2 + (row - y) ** 2 < radius**2


def ellipse(shape: tuple[int, int], x: float, y: float, a: float, b: float) -> np.ndarray:
    row, column = np.indices(shape)
    return ((column - x) / a) ** 2 + ((row - y) / b) ** 2 < 1


def pieces_of(mask: np.ndarray, line: np.ndarray) -> list[np.ndarray]:
    number, count = ndimage.label(mask & ~line, SQUARE)
    return [number == k for k in range(1, count + 1)]


def iou(first: np.ndarray, second: np.ndarray) -> float:
    return (first & second).sum() / (first | second).sum()


@pytest.mark.parametrize("zoom", [1, 6])
@pytest.mark.parametrize("angle", [0, 17, 45, 90, 128])
def test_two_discs_are_split_where_they_meet_at_any_size(zoom, angle):
    shape = 151 * zoom, 167 * zoom
    across, along = np.sin(np.radians(angle)), np.cos(np.radians(angle))
    left, right = (
        disc(shape, zoom * (83 + side * 24 * along), zoom * (75 + side * 24 * across), zoom * 30)
        for side in (-1, 1)
    )
    both = left | right  # the neck is 18 * zoom from axis to rim: 0.6 of a radius
    line = necks.cut(both, 0.7, 100)
    assert not (line & ~both).any()
    pieces = pieces_of(both, line)
    assert len(pieces) == 2
    assert all(max(iou(piece, whole) for piece in pieces) > 0.93 for whole in (left, right))
    assert 36 * zoom <= line.sum() <= 36 * zoom * 1.6  # one pixel wide, in steps where slanting
    assert not necks.cut(both, 0.5, 100).any()


SHAPE = 233, 347
ROUND = disc(SHAPE, 120, 110, 80)
WHOLE = {
    "a disc": ROUND,
    "an ellipse": ellipse(SHAPE, 170, 110, 150, 50),
    "cut off at the border": disc(SHAPE, 0, 110, 90),
    "a ring": ROUND & ~disc(SHAPE, 120, 110, 60),
    "a ring of two thin places": ROUND & ~ellipse(SHAPE, 120, 110, 75, 30),
    "an open ring": ROUND & ~disc(SHAPE, 195, 110, 30),
    "a bean": ellipse(SHAPE, 170, 110, 150, 70) & ~disc(SHAPE, 170, 30, 30),
    "a small one at its side": ROUND | disc(SHAPE, 222, 110, 25),
    "a thread": ROUND | ellipse(SHAPE, 230, 110, 115, 4),
    "a band thinner than the first look sees": np.ones((3, 1009), bool),
    "a pixel": disc(SHAPE, 9, 9, 1),
    "two far smaller than wanted": disc(SHAPE, 20, 20, 9) | disc(SHAPE, 35, 20, 9),
}


@pytest.mark.parametrize("what", WHOLE)
def test_one_object_stays_one(what):
    assert not necks.cut(WHOLE[what], 0.7, 500).any()


def test_of_three_in_a_row_each_is_split_from_the_next():
    discs = [disc((101, 307), x, 50, 45) for x in (60, 140, 220)]
    mask = np.logical_or.reduce(discs)
    pieces = pieces_of(mask, necks.cut(mask, 0.7, 500))
    assert len(pieces) == 3
    assert all(max(iou(piece, whole) for piece in pieces) > 0.9 for whole in discs)


def test_a_piece_below_the_least_area_is_not_cut_off():
    mask = disc((101, 211), 60, 50, 45) | disc((101, 211), 137, 50, 40)
    area = min(piece.sum() for piece in pieces_of(mask, necks.cut(mask, 0.7, 100)))
    assert necks.cut(mask, 0.7, area).any()
    assert not necks.cut(mask, 0.7, area + 1).any()


def test_runs_without_cuts():
    rng = np.random.default_rng(2)
    for _ in range(30):
        mask = rng.random(rng.integers(1, 40, 2)) < 0.7
        cut = mask & (rng.random(mask.shape) < 0.3)
        left = rle.without(rle.find(mask, 3), rle.find(cut, 3))
        expected = rle.find(mask & ~cut, 3)
        assert [left.y.tolist(), left.start.tolist(), left.end.tolist()] == [
            expected.y.tolist(),
            expected.start.tolist(),
            expected.end.tolist(),
        ]


def blobs(seed: int) -> np.ndarray:
    """Discs anywhere, many of them touching."""
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(200, 330, 2).tolist())
    drawn = [disc(shape, *rng.uniform(0, shape[::-1]), rng.uniform(6, 30)) for _ in range(25)]
    return np.logical_or.reduce(drawn)


@pytest.mark.parametrize("band", [1, 7, 512])
def test_objects_are_the_same_in_any_bands(monkeypatch, band):
    monkeypatch.setattr(cleaning, "BAND", band)
    cut_at_all = 0
    for seed in range(6):
        mask = blobs(seed)
        coarse = np.random.default_rng(seed).integers(0, 256, mask.shape).astype(np.uint8)
        chances = Probability(
            lambda coarse=coarse: (coarse[y : y + band] for y in range(0, len(coarse), band)), 1
        )
        bands = bands_of(mask.astype(np.uint8))
        options = MaskOptions(min_object_um2=150, max_hole_um2=0, split_touching={"disc": 0.7})
        objects = cleaning.find(bands, [0], 1.0, options, chances, ["disc"])[0]
        expected = np.zeros_like(mask)
        number, _ = ndimage.label(mask, SQUARE)
        for k, box in enumerate(ndimage.find_objects(number), 1):
            pixels = number[box] == k
            if pixels.sum() >= 150:
                line = necks.cut(pixels, 0.7, 150)
                cut_at_all += line.any()
                expected[box] |= pixels & ~line
        number, polygons = delivered(objects, bands)
        assert np.array_equal(number >= 0, expected)
        assert len(objects.table) == ndimage.label(expected, SQUARE)[1] == len(polygons)
        for k, polygon in polygons.items():
            y, x = np.nonzero(number == k)
            assert len(x) == objects.table.area[k] == polygon.area
            assert objects.table.probability[k] == pytest.approx(coarse[y, x].mean() / 255)
    assert cut_at_all > 5


def test_an_object_too_large_to_hold_is_not_split(monkeypatch):
    mask = disc((101, 211), 60, 50, 45) | disc((101, 211), 137, 50, 40)
    bands = bands_of(mask.astype(np.uint8))
    options = MaskOptions(min_object_um2=9, split_touching={"disc": 0.7})
    assert len(cleaning.find(bands, [0], 1.0, options, None, ["disc"])[0].table) == 2
    monkeypatch.setattr(necks, "LARGEST", 89 * 161)  # its box
    assert len(cleaning.find(bands, [0], 1.0, options, None, ["disc"])[0].table) == 2
    monkeypatch.setattr(necks, "LARGEST", 89 * 161 - 1)
    assert len(cleaning.find(bands, [0], 1.0, options, None, ["disc"])[0].table) == 1


# The whole verbs

SIZE, FACTOR, MPP = (463, 1337), 2, 0.25


def touching(slide: LabelledSlide) -> np.ndarray:
    """Two discs that overlap at the border of two bands, and one alone."""
    shape = slide.working_size[::-1]
    first = disc(shape, 70, cleaning.BAND - 31, 40)
    second = disc(shape, 70, cleaning.BAND + 33, 40)
    return first | second | disc(shape, 160, 90, 50)


def test_masks_outlines_and_scores_have_the_pieces(tmp_path):
    slide = LabelledSlide(tmp_path, SIZE, FACTOR, MPP)
    labels = touching(slide)
    slide.write_labels(labels.astype(np.uint8), ["glomerulus"])
    slide.write_foreground(np.ones([ceil_div(side, 16) for side in labels.shape], bool))
    apart = labels.copy()
    apart[cleaning.BAND + 1] = False  # the annotator drew them a row apart
    slide.write_annotation(255 * apart.astype(np.uint8))

    mask, scores = masks_and_scores(slide, ["glomerulus"], {"min_object_um2": 20})
    assert ndimage.label(mask, SQUARE)[1] == 3
    assert scores["objects"] == {
        "tp": 3,
        "fp": 0,
        "fn": 0,
        "precision": 1.0,
        "recall": 1.0,
        "f1": 1.0,
    }
    drawn = json.loads((tmp_path / "out" / "objects.geojson").read_text())["features"]
    assert len(drawn) == 3
    assert scores["area_found_um2"] == pytest.approx(mask.sum() * MPP**2)
    assert 0 < scores["everywhere"]["fp"] + scores["everywhere"]["fn"] < 150 * FACTOR**2

    mask, scores = masks_and_scores(
        slide, ["glomerulus"], {"min_object_um2": 20, "split_touching": {}}
    )
    assert ndimage.label(mask, SQUARE)[1] == 2
    assert (scores["objects"]["tp"], scores["objects"]["fp"], scores["objects"]["fn"]) == (1, 1, 2)


def test_only_classes_named_are_split(tmp_path):
    slide = LabelledSlide(tmp_path, SIZE, FACTOR, MPP)
    labels = touching(slide)
    slide.write_labels(3 * labels.astype(np.uint8), ["tubule", "tuft"])
    slide.write_foreground(np.ones([ceil_div(side, 16) for side in labels.shape], bool))
    slide.write_annotation(labels.astype(np.uint8))
    options = {"min_object_um2": 20, "split_touching": {"tubule": 0, "tuft": 0.7}}
    whole, scores = masks_and_scores(slide, ["tubule", "tuft"], options)
    parted = tifffile.imread(tmp_path / "out" / "tuft.tif") > 0
    assert (ndimage.label(whole, SQUARE)[1], ndimage.label(parted, SQUARE)[1]) == (2, 3)
    assert scores["objects"]["f1"] == 1.0  # the first class's


def test_a_piece_too_unlikely_is_dropped_after_the_split():
    mask = disc((101, 211), 60, 50, 45) | disc((101, 211), 137, 50, 40)
    coarse = np.full(mask.shape, 240, np.uint8)
    coarse[:, 110:] = 180
    chances = Probability(lambda: iter([coarse]), 1)
    bands, both = bands_of(mask.astype(np.uint8)), {"disc": 0.7}
    for least, centres in ((0.7, [60, 137]), (0.8, [60]), (0.95, [])):
        options = MaskOptions(
            min_object_um2=9, split_touching=both, min_probability={"disc": least}
        )
        table = cleaning.find(bands, [0], 1.0, options, chances, ["disc"])[0].table
        assert table.centre[:, 0].round() == pytest.approx(centres, abs=2)


def test_a_class_without_a_name_in_classes_is_refused():
    for key in ("split_touching", "min_probability"):
        message = rf"mask.{key} names 'tuft', .* \['glomerulus'\]"
        with pytest.raises(HolohistoError, match=message):
            parse_config({"mask": {key: {"tuft": 0.7}}})
    assert parse_config({"classes": {"tuft": {}}}).mask.split_touching == {
        "glomerulus": 0.7
    }  # not named


def test_masks_from_elsewhere_are_scored_uncut():
    given = Config.model_validate({"mask": {"min_probability": {"glomerulus": 0.9}}})
    as_it_is = json.loads(as_json(given)["mask_uncleaned"])
    assert as_it_is["split_touching"] == as_it_is["min_probability"] == {}
    assert json.loads(as_json(Config())["mask"])["split_touching"] == {"glomerulus": 0.7}
