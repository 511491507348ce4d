"""Slides without annotation: their order, and the objects of which the model is least sure."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from labelled_slide import LabelledSlide
from PIL import Image

from holohisto import cli
from holohisto.runtime.arithmetic import ceil_div
from holohisto.runtime.results import Results

CLASSES = {"tuft": {"colour": "#00c853"}, "capsule": {"colour": "#ff9100"}}


@pytest.fixture(scope="module", params=[False, True])
def made(request, tmp_path_factory):
    """A slide with a sure, a less sure and an unsure object; outlines plain or gzipped."""
    folder = tmp_path_factory.mktemp("unsure")
    slide = LabelledSlide(folder, (1203, 2611), 2, 0.25)
    results = Results(folder / "results")
    results.record("s1").parent.mkdir(parents=True)
    shutil.copy(slide.check, results.record("s1"))
    width, height = slide.working_size
    labels = np.zeros((height, width), np.uint8)
    probability = np.zeros((ceil_div(height, 4), ceil_div(width, 4)), np.uint8)
    for top, value, bit in ((200, 255, 1), (480, 180, 2), (900, 140, 1)):
        labels[top : top + 60, 100:160] = bit
        probability[top // 4 : (top + 60) // 4, 25:40] = value
    slide.write_labels(labels, list(CLASSES), probability)
    results.probability("m1", "s1").parent.mkdir(parents=True)
    shutil.copy(slide.probability, results.probability("m1", "s1"))
    lines = ["slide\timage\tsplit\tgroup", f"s1\t{slide.image}\tpredict\tDN"]
    lines += [f"s2\t{slide.image}\tpredict\tDN", f"s3\t{slide.image}\ttest\tDN"]
    (folder / "slides.tsv").write_text("\n".join(lines) + "\n")
    classes = ["--classes", json.dumps(CLASSES)]
    mask = ["mask", slide.labels, "--image", slide.image, "--record", slide.check, *classes]
    mask += ["--probability", slide.probability, "--overlay", folder / "o.jpg"]
    mask += ["--masks", results.mask("m1", "s1", "{class}")]
    mask += ["--geojson", results.geojson("m1", "s1", gzipped=request.param)]
    gallery = ["gallery", "--sheet", folder / "slides.tsv", "--results", results.folder, *classes]
    gallery += ["--models", "m1", "--options", '{"side": 200, "errors": 2}', "--splits", "predict"]
    gallery += ["--next", results.correct_next, "--output", results.gallery]
    for words in (mask, gallery):
        assert cli.main([str(word) for word in words]) == 0
    return results


def test_segmented_slides_without_annotation_are_ranked(made):
    table = pd.read_csv(made.correct_next, sep="\t")
    assert table["slide"].tolist() == ["s1"]  # s2 has no probability map, s3 is not segmented
    p = np.array([255, 180, 140]) / 255
    assert table["uncertainty"][0] == pytest.approx((4 * p * (1 - p)).mean(), abs=1e-6)


def test_the_least_sure_objects_are_shown(made):
    index = json.loads((made.gallery / "gallery.json").read_text())
    assert index["fields"] == index["failures"] == []
    (entry,) = index["unsure"]
    assert (entry["slide"], entry["group"]) == ("s1", "DN")
    first, second = entry["objects"]
    assert (first["class"], second["class"]) == ("tuft", "capsule")
    assert first["probability"] == pytest.approx(140 / 255, abs=1e-4)
    assert first["area_um2"] == 900.0
    assert (first["x"], first["y"]) == (260.0, 1860.0)
    assert first["width_um"] == 100.0
    pixels = np.asarray(Image.open(made.gallery / first["file"])).astype(int)
    rows, columns = np.nonzero(np.abs(pixels - np.array((0, 200, 83))).max(axis=2) < 40)
    assert (np.ptp(columns) + 1, np.ptp(rows) + 1) == pytest.approx((60, 60), abs=2)


def test_broken_outlines_leave_the_slide_out_with_a_warning(made, capsys, tmp_path):
    shutil.copytree(made.folder, tmp_path / "results")
    results = Results(tmp_path / "results")
    for gzipped in (False, True):
        results.geojson("m1", "s1", gzipped).unlink(missing_ok=True)
    results.geojson("m1", "s1").write_text('{"type": "FeatureCollection", "features": [3]}')
    words = ["gallery", "--sheet", made.folder.parent / "slides.tsv", "--results", results.folder]
    words += ["--classes", json.dumps(CLASSES), "--models", "m1", "--next", results.correct_next]
    words += ["--output", results.gallery]
    assert cli.main([str(word) for word in words]) == 0
    assert json.loads((results.gallery / "gallery.json").read_text())["unsure"] == []
    shown = capsys.readouterr().err
    assert "s1: not shown" in shown
    assert "no outlines can be read from it" in shown
