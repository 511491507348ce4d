"""The verb's scores of a slide, by hand."""

import numpy as np
import pytest
from labelled_slide import LabelledSlide
from scipy import ndimage
from scored_slide import CLASSES, run_metrics

from holohisto.annotation import Annotation
from holohisto.config.sections import ClassOptions
from holohisto.masks import cleaning
from holohisto.runtime.arithmetic import ceil_div
from holohisto.slide.scale import Scale


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    slide = LabelledSlide(tmp_path_factory.mktemp("scores"), (1203, 2611), 2, 0.25)
    width, height = slide.working_size
    labels, marked = np.zeros((2, height, width), np.uint8)
    labels[480:540, 100:160] = 1  # over a border of bands
    marked[480:540, 110:160] = 1  # IoU 5/6
    labels[700:760, 300:360] |= 1  # extra
    labels[10:14, 10:14] |= 1  # a speck of 4 um2
    marked[900:950, 400:450] |= 1  # missed
    marked[0:20, 590:600] |= 2
    slide.write_labels(labels, CLASSES)
    slide.write_annotation(marked)
    tissue = np.ones((ceil_div(height, 16), ceil_div(width, 16)), bool)
    tissue[:, -3:] = False  # from column 560
    slide.write_foreground(tissue)
    return run_metrics(slide, mask={"min_object_um2": 5})


def test_the_verb_scores_the_delivered_masks(scores):
    assert (scores["slide"], scores["model"]) == ("s1", "m1")
    assert (scores["mpp"], scores["working_mpp"]) == (0.25, 0.5)
    tuft = scores["classes"]["tuft"]
    assert tuft["annotated"] is True
    assert {key: tuft["everywhere"][key] for key in ("tp", "fp", "fn")} == {
        "tp": 3000,
        "fp": 600 + 3600,
        "fn": 2500,
    }
    assert tuft["objects"] == {
        "tp": 1,
        "fp": 1,
        "fn": 1,
        "precision": 0.5,
        "recall": 0.5,
        "f1": 0.5,
    }
    assert "kpis2024" not in tuft
    assert len(tuft["tiles"]) == 3 * 5
    assert tuft["tiles"][4]["xy"] == [400, 600]
    assert tuft["tiles_empty"] == 15 - 3


def test_the_verb_lists_objects_and_what_was_missed(scores):
    tuft = scores["classes"]["tuft"]
    assert tuft["object_table"] == [
        {
            "area_um2": 900.0,
            "x": 260.0,
            "y": 1020.0,
            "box": [200, 960, 320, 1080],
            "probability": 0.8,
            "matched": True,
            "iou": 0.8333,
        },
        {
            "area_um2": 900.0,
            "x": 660.0,
            "y": 1460.0,
            "box": [600, 1400, 720, 1520],
            "probability": 0.8,
            "matched": False,
            "iou": 0.0,
        },
    ]
    assert tuft["missed"] == [
        {"area_um2": 625.0, "x": 850.0, "y": 1850.0, "box": [800, 1800, 900, 1900], "iou": 0.0}
    ]
    assert (tuft["objects_found"], tuft["area_found_um2"]) == (2, 1800.0)
    assert (tuft["objects_annotated"], tuft["area_annotated_um2"]) == (2, 1375.0)


def test_the_verb_compares_outlines(scores):
    tuft = scores["classes"]["tuft"]
    # Outlines: 60 x 60 found twice, 50 x 60 and 50 x 50 annotated. Within 2 um = 4 pixels the pair
    # of the matched object agree but for the left sides: of the found one all 60 pixels and 5
    # beside either end, of the annotated one all but 5 at either end.
    assert tuft["boundary"] == {
        "tolerance_um": 2.0,
        "found": 2 * 236,
        "found_near": 236 - 60 - 10,
        "annotated": 216 + 196,
        "annotated_near": 216 - 50,
        "precision": pytest.approx(166 / 472),
        "recall": pytest.approx(166 / 412),
        "f1": pytest.approx(2 * 166 / (472 + 412)),
    }


def test_annotations_outside_the_foreground_are_counted(scores):
    capsule = scores["classes"]["capsule"]
    assert capsule["outside_foreground"] == 20 * 10
    assert capsule["foreground"] == {"tp": 0, "fp": 0, "fn": 0, "dice": 1.0}
    assert capsule["everywhere"]["dice"] == 0.0


def test_classes_nobody_annotated_are_not_scored(tmp_path):
    slide = LabelledSlide(tmp_path, (301, 1237), 1, 0.5)
    labels = np.zeros(slide.working_size[::-1], np.uint8)
    labels[500:560, 20:80] = 3
    slide.write_labels(labels, CLASSES)
    slide.write_annotation(labels & 1)
    slide.write_foreground(np.ones((78, 19), bool))
    result = run_metrics(slide, "--annotated", "tuft")
    assert result["classes"]["tuft"]["foreground"]["dice"] == 1.0
    capsule = result["classes"]["capsule"]
    assert capsule["annotated"] is False
    assert set(capsule) == {"annotated", "objects_found", "area_found_um2", "object_table"}
    assert (capsule["objects_found"], capsule["area_found_um2"]) == (1, 900.0)
    assert [item["matched"] for item in capsule["object_table"]] == [None]


def test_scores_do_not_depend_on_the_band_height(tmp_path, monkeypatch):
    slide = LabelledSlide(tmp_path, (301, 1237), 1, 0.5)
    rng = np.random.default_rng(2)
    noise = ndimage.gaussian_filter(rng.random((2, *slide.working_size[::-1])), (0, 6, 6)) > 0.5
    slide.write_labels(noise[0].astype(np.uint8), CLASSES)
    slide.write_annotation(noise[1].astype(np.uint8))
    slide.write_foreground(rng.random((78, 19)) < 0.7)
    results = []
    for band in (512, 64, 2048):
        monkeypatch.setattr(cleaning, "BAND", band)
        monkeypatch.setattr("holohisto.masks.frame.BAND", band)
        results.append(run_metrics(slide, mask={"min_object_um2": 20, "max_hole_um2": 10}))
    assert results[0] == results[1] == results[2]
    assert results[0]["classes"]["tuft"]["objects"]["fp"] > 10


@pytest.mark.data
def test_a_real_annotation_scores_one_against_itself(tmp_path, data):
    image, marked = data / "slides" / "mosaic_a.tif", data / "slides" / "mosaic_a_mask.tif"
    slide = LabelledSlide(tmp_path, (4519, 2693), 1, 0.5, image)
    labels = Annotation(marked, {"tuft": ClassOptions()}, slide.size, Scale.whole(1)).read(
        (0, 0), slide.size
    )
    slide.write_labels(labels, CLASSES)
    slide.write_annotation(labels)
    slide.write_foreground(np.ones((169, 283), bool))
    tuft = run_metrics(slide, "--annotated", "tuft")["classes"]["tuft"]
    assert tuft["foreground"]["dice"] == 1.0
    assert tuft["foreground"]["tp"] == np.count_nonzero(labels)
    assert tuft["objects"] == {
        "tp": 8,
        "fp": 0,
        "fn": 0,
        "precision": 1.0,
        "recall": 1.0,
        "f1": 1.0,
    }
    assert sum(item["area_um2"] for item in tuft["object_table"]) == np.count_nonzero(labels) / 4
