"""Masks exported for QuPath, and their outlines as annotations."""

import json

import numpy as np
import pytest
from labelled_slide import LabelledSlide
from outline_files import ONE, blobs, feature, read_all, square, write

from holohisto import cli
from holohisto.config.sections import ClassOptions

CLASSES = {"tuft": {"values": [1, 3]}, "capsule": {"values": [2, 3]}}


def exported(slide: LabelledSlide, labels, **options) -> tuple[np.ndarray, np.ndarray]:
    """Delivered masks and the labels that come back from the GeoJSON, both at working size."""
    slide.write_labels(labels, CLASSES)
    code = cli.main(
        [
            "mask",
            str(slide.labels),
            "--image",
            str(slide.image),
            "--record",
            str(slide.check),
            "--probability",
            str(slide.probability),
            "--options",
            json.dumps(options),
            "--classes",
            json.dumps(CLASSES),
            "--masks",
            str(slide.folder / "{class}.tif"),
            "--geojson",
            str(slide.folder / "out.geojson"),
            "--overlay",
            str(slide.folder / "o.jpg"),
        ]
    )
    assert code == 0
    delivered = np.zeros_like(labels)
    for bit, name in enumerate(CLASSES):
        masks = read_all(slide.folder / f"{name}.tif", ONE, slide.size, slide.factor)
        delivered |= masks << bit
    classes = {name: ClassOptions() for name in CLASSES}
    return delivered, read_all(slide.folder / "out.geojson", classes, slide.size, slide.factor)


def glomeruli(size, seed):
    """Smooth objects of both classes, some 50 to 100 pixels wide."""
    return blobs(size, 14, seed).astype(np.uint8) | blobs(size, 18, seed + 1).astype(np.uint8) << 1


@pytest.mark.parametrize(
    ("size", "factor"), [((1203, 1611), 2), ((1501, 1130), 1), ((2410, 2807), 4)]
)
def test_a_mask_exported_and_imported_gives_the_same_labels(tmp_path, size, factor):
    slide = LabelledSlide(tmp_path, size, factor, 0.5 / factor)
    labels = glomeruli(slide.working_size, factor)
    delivered, back = exported(slide, labels)
    for bit in (0, 1):
        one, other = (array >> bit & 1 for array in (delivered, back))
        assert 0.2 < one.mean() < 0.8
        assert (one & other).sum() / (one | other).sum() >= 0.999
    delivered, back = exported(slide, labels, simplify_um=0)
    np.testing.assert_array_equal(back, delivered)


def test_outlines_are_an_annotation_to_score_against(tmp_path):
    slide = LabelledSlide(tmp_path, (603, 811), 1, 0.5)
    delivered, back = exported(slide, glomeruli(slide.size, 5), simplify_um=0, min_object_um2=0)
    np.testing.assert_array_equal(back, delivered)
    slide.write_foreground(np.ones((51, 38), bool))
    code = cli.main(
        [
            "metrics",
            str(slide.labels),
            "--record",
            str(slide.check),
            "--annotation",
            str(tmp_path / "out.geojson"),
            "--foreground",
            str(slide.foreground),
            "--probability",
            str(slide.probability),
            "--mask-options",
            '{"min_object_um2": 0}',
            "--classes",
            json.dumps(CLASSES),
            "--output",
            str(tmp_path / "scores.json"),
        ]
    )
    assert code == 0
    scores = json.loads((tmp_path / "scores.json").read_text())["classes"]
    assert [scores[name]["everywhere"]["dice"] for name in CLASSES] == [1.0, 1.0]


def test_check_takes_outlines(tmp_path):
    slide = LabelledSlide(tmp_path, (301, 237), 1, 0.5)
    write(tmp_path / "a.geojson", [feature(square(10, 10, 50))])
    words = [
        "check",
        str(slide.image),
        "--slide",
        "s1",
        "--options",
        '{"mpp": 0.5}',
        "--classes",
        '{"glomerulus": {}}',
        "--output",
        str(tmp_path / "c.json"),
    ]
    assert cli.main([*words, "--annotation", str(tmp_path / "a.geojson")]) == 0
    record = json.loads((tmp_path / "c.json").read_text())
    assert record["annotation"] == {"size": [301, 237], "fits": "level 0"}
    assert record["warnings"] == []
    write(tmp_path / "b.geojson", [feature(square(10, 10, 50), "other")])
    assert cli.main([*words, "--annotation", str(tmp_path / "b.geojson")]) == 0
    assert (
        "shows none of the classes" in json.loads((tmp_path / "c.json").read_text())["warnings"][0]
    )
