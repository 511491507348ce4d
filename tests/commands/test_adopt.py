"""Masks from elsewhere as labels."""

import json

import numpy as np
import pytest
import tifffile
from labelled_slide import LabelledSlide
from PIL import Image
from scipy import ndimage

from holohisto import cli
from holohisto.pyramid.raster import Raster

CLASSES = {"tuft": {"values": [1, 3]}, "capsule": {"values": [2, 3]}}


def adopt(slide: LabelledSlide, masks, classes=CLASSES) -> int:
    return cli.main(
        [
            "adopt",
            str(masks),
            "--record",
            str(slide.check),
            "--model",
            "winner",
            "--classes",
            json.dumps(classes),
            "--labels",
            str(slide.labels),
            "--probability",
            str(slide.probability),
        ]
    )


def drawn(size, seed=0):
    noise = np.random.default_rng(seed).random((2, size[1], size[0]))
    smooth = ndimage.gaussian_filter(noise, (0, 9, 9)) > 0.5
    return smooth[0].astype(np.uint8) | smooth[1].astype(np.uint8) << 1


@pytest.mark.parametrize("name", ["m.png", "m.tif"])
def test_masks_become_labels_and_certain_probabilities(tmp_path, name):
    slide = LabelledSlide(tmp_path, (517, 1403), 2, 0.25)
    values = drawn(slide.size)
    if name.endswith("png"):
        Image.fromarray(values).save(tmp_path / name)
    else:
        tifffile.imwrite(tmp_path / name, values, tile=(128, 128), compression="lzw")
    assert adopt(slide, tmp_path / name) == 0
    with Raster(slide.labels) as raster:
        labels = raster.read((0, 0), raster.size)
        assert raster.size == slide.working_size == (259, 702)
        assert (raster.header["model"], raster.header["slide"]) == ("winner", "s1")
        assert raster.header["classes"] == ["tuft", "capsule"]
    padded = np.zeros((2 * 702, 2 * 259), np.uint8)
    padded[:1403, :517] = values
    for bit in (0, 1):
        shares = (padded >> bit & 1).reshape(702, 2, 259, 2).mean(axis=(1, 3))
        np.testing.assert_array_equal(labels >> bit & 1, shares >= 0.5)
    with Raster(slide.probability) as raster:
        assert raster.size == (65, 176)
        probability = raster.read((0, 0), raster.size)
    padded = np.zeros((704, 260), np.uint8)
    padded[:702, :259] = labels
    expected = padded.reshape(176, 4, 65, 4).any(axis=(1, 3)) * 255
    np.testing.assert_array_equal(probability, expected)


def test_outlines_are_masks_too(tmp_path):
    slide = LabelledSlide(tmp_path, (517, 1403), 2, 0.25)
    feature = {
        "type": "Feature",
        "geometry": {
            "type": "Polygon",
            "coordinates": [[[100, 200], [300, 200], [300, 700], [100, 700], [100, 200]]],
        },
        "properties": {"objectType": "annotation", "classification": {"name": "capsule"}},
    }
    path = tmp_path / "m.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    assert adopt(slide, path) == 0
    expected = np.zeros((702, 259), np.uint8)
    expected[100:350, 50:150] = 2
    with Raster(slide.labels) as raster:
        np.testing.assert_array_equal(raster.read((0, 0), raster.size), expected)


def test_what_was_adopted_is_delivered_and_scored(tmp_path):
    slide = LabelledSlide(tmp_path, (301, 1237), 1, 0.5)
    values = drawn(slide.size, 3)
    Image.fromarray(values).save(tmp_path / "m.png")
    assert adopt(slide, tmp_path / "m.png") == 0
    slide.write_annotation(values)
    slide.write_foreground(np.ones((78, 19), bool))
    output = tmp_path / "scores.json"
    assert (
        cli.main(
            [
                "metrics",
                str(slide.labels),
                "--record",
                str(slide.check),
                "--annotation",
                str(slide.annotation),
                "--foreground",
                str(slide.foreground),
                "--probability",
                str(slide.probability),
                "--classes",
                json.dumps(CLASSES),
                "--mask-options",
                '{"min_object_um2": 0, "max_hole_um2": 0}',
                "--output",
                str(output),
            ]
        )
        == 0
    )
    scores = json.loads(output.read_text())
    assert (scores["model"], scores["pretrained"]) == ("winner", "masks from elsewhere")
    for name in CLASSES:
        assert scores["classes"][name]["everywhere"]["dice"] == 1.0
        assert {item["probability"] for item in scores["classes"][name]["object_table"]} == {1.0}


def test_masks_of_another_size_are_refused(tmp_path, capsys):
    slide = LabelledSlide(tmp_path, (301, 237), 1, 0.5)
    Image.fromarray(drawn((300, 237))).save(tmp_path / "m.png")
    assert adopt(slide, tmp_path / "m.png") == 2
    error = capsys.readouterr().err
    assert "m.png" in error
    assert "found 300x237; allowed 301x237 (level 0)" in error
    assert not slide.labels.exists()


def test_masks_that_show_nothing_are_reported(tmp_path, capsys):
    slide = LabelledSlide(tmp_path, (301, 237), 1, 0.5)
    Image.fromarray(np.full((237, 301), 255, np.uint8)).save(tmp_path / "m.png")
    assert adopt(slide, tmp_path / "m.png") == 0
    assert "m.png: shows none of the classes" in capsys.readouterr().err
