"""The verb `gallery`: pictures of typical fields and of the largest errors."""

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
from holohisto.runtime.seal import read_sealed_json

CLASSES = {"tuft": {"colour": "#00c853"}, "capsule": {"colour": "#ff9100"}}


def verbs(folder, slide, results) -> list[list[str]]:
    """Command lines that end with the gallery."""
    classes = json.dumps(CLASSES)
    common = ["--record", str(slide.check), "--probability", str(slide.probability)]
    sheet = ["--sheet", str(folder / "slides.tsv"), "--classes", classes]
    run = ["--results", str(results.folder), "--models", "m1,absent"]
    return [
        [
            "mask",
            str(slide.labels),
            "--image",
            str(slide.image),
            *common,
            "--classes",
            classes,
            "--masks",
            str(results.mask("m1", "s1", "{class}")),
            "--geojson",
            str(folder / "o.geojson"),
            "--overlay",
            str(folder / "o.jpg"),
        ],
        [
            "metrics",
            str(slide.labels),
            *common,
            "--annotation",
            str(slide.annotation),
            "--foreground",
            str(slide.foreground),
            "--mask-options",
            "{}",
            "--classes",
            classes,
            "--output",
            str(results.metrics("m1", "s1")),
        ],
        ["cohort", *sheet, *run, "--output", str(results.scores.parent)],
        [
            "gallery",
            *sheet,
            *run,
            "--options",
            '{"field_um": 100, "side": 200}',
            "--output",
            str(results.folder / "gallery"),
        ],
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One slide: one object well found, one extra, one missed; the verbs before, then this one."""
    folder = tmp_path_factory.mktemp("gallery")
    slide = LabelledSlide(folder, (1203, 2611), 2, 0.25)
    results = Results(folder / "results")
    results.record("s1").parent.mkdir(parents=True)
    shutil.copy(slide.check, results.record("s1"))
    width, height = slide.working_size
    labels, marked = np.zeros((2, height, width), np.uint8)
    labels[480:540, 100:160] = 1
    marked[480:540, 110:160] = 1
    labels[700:790, 300:360] |= 1  # extra
    marked[900:1000, 400:440] |= 1  # missed
    slide.write_labels(labels, list(CLASSES))
    slide.write_annotation(marked)
    slide.write_foreground(np.ones((ceil_div(height, 16), ceil_div(width, 16)), bool))
    (folder / "slides.tsv").write_text(
        f"slide\timage\tannotation\tsplit\tgroup\ns1\t{slide.image}\t{slide.annotation}\ttest\tDN\n"
    )
    for words in verbs(folder, slide, results):
        assert cli.main(words) == 0
    return folder, slide


def picture(folder, file):
    return np.asarray(Image.open(folder / "results/gallery" / file)).astype(int)


def near(pixels, colour) -> np.ndarray:
    """Where a JPEG has about this colour."""
    return np.abs(pixels - np.array(colour)).max(axis=2) < 40


def test_a_row_shows_input_annotation_models_and_the_whole_slide(made):
    folder, _ = made
    index = json.loads((folder / "results/gallery/gallery.json").read_text())
    (field,) = index["fields"]
    assert (field["slide"], field["group"], field["width_um"]) == ("s1", "DN", 100.0)
    assert [(entry["what"], entry["model"]) for entry in field["pictures"]] == [
        ("input", ""),
        ("annotation", ""),
        ("model", "m1"),
        ("whole slide", "m1"),
    ]
    left, top = field["xy"]
    # The field is about the object that was found: 100 um = 400 px, shown at 200.
    assert left <= 260 <= left + 400
    assert top <= 1020 <= top + 400
    _, annotation, model, whole = (picture(folder, entry["file"]) for entry in field["pictures"])
    assert annotation.shape == model.shape == (200, 200, 3)
    for drawn, start in ((annotation, 220), (model, 200)):
        rows, columns = np.nonzero(near(drawn, (0, 200, 83)))
        assert columns.min() == pytest.approx((start - left) / 2, abs=1)
        assert columns.max() == pytest.approx((320 - left) / 2 - 1, abs=1)
        assert rows.min() == pytest.approx((960 - top) / 2, abs=1)
    assert whole.shape == (200, round(200 * 1203 / 2611), 3)


def test_errors_are_shown_where_they_are(made):
    folder, _ = made
    index = json.loads((folder / "results/gallery/gallery.json").read_text())
    (failure,) = index["failures"]
    (extra,), (missed,) = failure["extra"], failure["missed"]
    assert (extra["class"], extra["area_um2"], extra["iou"]) == ("tuft", 1350.0, 0.0)
    assert (missed["area_um2"], missed["x"], missed["y"]) == (1000.0, 840.0, 1900.0)
    # At least 100 um about the middle: 400 px at 200, so reduced twice.
    assert (extra["width_um"], extra["reduced"]) == (100.0, 2.0)
    green = near(picture(folder, extra["file"]), (0, 200, 83))
    rows, columns = np.nonzero(green)
    assert (np.ptp(columns) + 1, np.ptp(rows) + 1) == pytest.approx((60, 90), abs=2)
    shown = picture(folder, missed["file"])
    assert near(shown, (0, 200, 83)).sum() == 0
    assert near(shown, (0, 0, 0)).sum() > 200  # the rim of the expert's white line


def test_the_report_shows_them(made):
    folder, _ = made
    assert (
        cli.main(
            [
                "report",
                "--sheet",
                str(folder / "slides.tsv"),
                "--results",
                str(folder / "results"),
                "--logs",
                str(folder / "logs"),
                "--models",
                '{"m1": {"kind": "unet"}}',
                "--classes",
                json.dumps(CLASSES),
                "--output",
                str(folder / "report.html"),
            ]
        )
        == 0
    )
    html = (folder / "report.html").read_text()
    assert "tuft, 1\u202f350\u00a0µm²<small>no overlap, reduced 2.0 times" in html
    assert html.count('alt="m1, slide s1"') == 1
    assert 'alt="False negatives: tuft, 1\u202f000\u00a0µm², slide s1"' in html


def test_a_slide_that_cannot_be_read_is_left_out(tmp_path):
    (tmp_path / "slides.tsv").write_text(
        "slide\timage\tannotation\tsplit\ns1\tgone.tif\tgone.png\ttest\n"
    )
    row = {"model": "m", "slide": "s1", "group": "s", "class": "tuft", "dice_foreground": 0.5}
    table = pd.DataFrame([row])
    scored = Results(tmp_path).scores
    scored.parent.mkdir()
    table.to_csv(scored, sep="\t", index=False)
    assert (
        cli.main(
            [
                "gallery",
                "--sheet",
                str(tmp_path / "slides.tsv"),
                "--results",
                str(tmp_path),
                "--models",
                "m",
                "--classes",
                json.dumps(CLASSES),
                "--output",
                str(tmp_path / "gallery"),
            ]
        )
        == 0
    )
    index = read_sealed_json(tmp_path / "gallery/gallery.json")
    assert index == {"fields": [], "failures": [], "unsure": []}
    assert list(tmp_path.glob(".gallery*")) == []
