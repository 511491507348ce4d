"""Objects after cleaning, and their outlines, against the rule in words."""

import json

import numpy as np
import pytest
from labelled_slide import LabelledSlide, masks_and_scores
from objects import SQUARE, bands_of, cleaned_slowly, delivered, random_masks
from scipy import ndimage

from holohisto.config.sections import MaskOptions
from holohisto.masks import cleaning
from holohisto.masks.cleaning import Probability
from holohisto.runtime.arithmetic import ceil_div


@pytest.mark.parametrize("band", [1, 3, 8, 64])
def test_cleaning_and_outlines_equal_brute_force_for_any_band_height(monkeypatch, band):
    monkeypatch.setattr(cleaning, "BAND", band)
    rng = np.random.default_rng(band)
    for mask in random_masks(40):
        low, high = rng.integers(0, 20, 2).tolist()
        likely = rng.choice([0.0, 0.5])
        coarse = rng.integers(0, 256, mask.shape).astype(np.uint8)
        chances = Probability(
            lambda coarse=coarse: (coarse[y : y + band] for y in range(0, len(coarse), band)), 1
        )
        bands = bands_of(mask.astype(np.uint8) << 2)
        options = MaskOptions(
            min_object_um2=low * 4.0, max_hole_um2=high * 4.0, min_probability={"c": likely}
        )
        objects = cleaning.find(bands, [2], 4.0, options, chances, "abc")[2]
        number, polygons = delivered(objects, bands)
        expected = cleaned_slowly(mask, low, high, coarse, likely)
        assert np.array_equal(number >= 0, expected)
        assert len(objects.table) == ndimage.label(expected, SQUARE)[1] == len(polygons)
        for k, polygon in polygons.items():
            y, x = np.nonzero(number == k)
            assert len(x) == objects.table.area[k] == polygon.area
            assert polygon.is_valid
            assert ndimage.label(number == k, SQUARE)[1] == 1
            assert objects.table.box[k].tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]
            assert objects.table.centre[k] == pytest.approx([x.mean() + 0.5, y.mean() + 0.5])
            assert objects.table.probability[k] == pytest.approx(coarse[y, x].mean() / 255)


def test_objects_too_unlikely_are_left_out_of_all_results(tmp_path):
    slide = LabelledSlide(tmp_path, (463, 1237), 2, 0.25)
    labels = np.zeros(slide.working_size[::-1], np.uint8)
    labels[40:110, 30:90] = labels[480:560, 100:180] = 3
    probability = np.full([ceil_div(side, 4) for side in labels.shape], 250, np.uint8)
    probability[10:28] = 200  # mean 0.78 in the first object
    slide.write_labels(labels, ["tubule", "tuft"], probability)
    slide.write_foreground(np.ones([ceil_div(side, 16) for side in labels.shape], bool))
    slide.write_annotation(labels & 1)
    options = {"min_object_um2": 20, "min_probability": {"tubule": 0.8}}
    mask, scores = masks_and_scores(slide, ["tubule", "tuft"], options)
    assert mask.sum() == 160**2
    assert mask[960:1120, 200:360].all()
    assert scores["objects"] == {
        "tp": 1,
        "fp": 0,
        "fn": 1,
        "precision": 1.0,
        "recall": 0.5,
        "f1": pytest.approx(2 / 3),
    }
    assert scores["everywhere"]["fn"] == 70 * 60
    drawn = json.loads((tmp_path / "out" / "objects.geojson").read_text())["features"]
    names = [feature["properties"]["classification"]["name"] for feature in drawn]
    assert sorted(names) == ["tubule", "tuft", "tuft"]  # the other class keeps its own
