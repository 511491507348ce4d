"""Which slides and places the report shows, and what is drawn there."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from labelled_slide import LabelledSlide
from PIL import Image

from holohisto import cli
from holohisto.gallery.choice import densest, largest_errors, objects_drawn, typical, worst
from holohisto.gallery.drawing import Field, bar_length, outlined, with_bar
from holohisto.runtime.arithmetic import ceil_div
from holohisto.runtime.results import Results

CLASSES = {"tuft": {"colour": "#00c853"}, "capsule": {"colour": "#ff9100"}}


def scores(dice: dict[str, float]) -> pd.DataFrame:
    rows = [
        {
            "model": "m",
            "slide": slide,
            "group": slide[0],
            "class": "tuft",
            "dice_foreground": value,
        }
        for slide, value in dice.items()
    ]
    return pd.DataFrame(rows)


def test_typical_slides_have_their_groups_median_dice():
    table = scores({"a1": 0.9, "a2": 0.5, "a3": 0.7, "b1": 0.2, "b2": 0.8, "c1": np.nan})
    assert typical(table, "m", 9) == ["a3", "b1"]
    assert typical(table, "m", 1) == ["a3"]
    assert typical(table, "other", 9) == []


def test_typical_slides_show_every_structure_of_a_group():
    table = scores({"a1": 0.9, "a2": 0.5, "a3": 0.7, "a4": 0.8, "b1": 0.2})
    table.loc[table["slide"].isin(["a2", "a4"]), "class"] = "capsule"
    assert typical(table, "m", 9) == ["a3", "a2", "b1"]


def test_worst_slides_are_few_and_go_by_their_worst_class():
    table = scores({f"a{i}": 0.5 + i / 20 for i in range(9)} | {"b1": 1.0})
    table.loc[len(table)] = ["m", "a7", "a", "capsule", 0.1]
    assert worst(table, "m", 9) == ["a7", "a0", "a1"]
    assert worst(table, "m", 2) == ["a7", "a0"]
    assert worst(table[:1], "m", 4) == ["a0"]
    assert worst(table[table["slide"] == "b1"], "m", 4) == []


def test_the_densest_field_is_that_of_brute_force():
    points = np.random.default_rng(3).uniform(0, 1000, (60, 2))
    near = np.abs(points[:, None] - points[None]).max(axis=2) <= 100
    fullest = near.sum(axis=1).argmax()
    assert densest(points, 200) == pytest.approx(points[near[fullest]].mean(axis=0))
    assert densest(np.array([[3.0, 4.0]]), 10) == (3.0, 4.0)


def test_the_largest_errors_of_all_classes():
    def entry(area, **more):
        return {"area_um2": area, "x": area, "y": 1.0, "box": [0, 0, 1, 1], "iou": 0.0, **more}

    record = {
        "classes": {
            "tuft": {
                "object_table": [entry(5, matched=True), entry(9, matched=False)],
                "missed": [entry(2), entry(8)],
            },
            "capsule": {
                "object_table": [entry(11, matched=False), entry(50, matched=None)],
                "missed": [entry(3)],
            },
        }
    }
    errors = largest_errors(record, 2)
    assert [(one["class"], one["area_um2"]) for one in errors["extra"]] == [
        ("capsule", 11),
        ("tuft", 9),
    ]
    assert [one["area_um2"] for one in errors["missed"]] == [8, 3]
    assert objects_drawn(record)[:, 0].tolist() == [5, 2, 8, 3]


def test_fields_lie_in_the_slide_on_working_pixels():
    for centre in ((0, 0), (1203, 611), (601, 305)):
        field = Field.around(centre, 301, (1203, 611), 4)
        assert field.size == (300, 300)
        assert all(place % 4 == 0 for place in field.xy)
        for place, length, whole, middle in zip(
            field.xy, field.size, (1203, 611), centre, strict=True
        ):
            assert 0 <= place <= whole - length
            assert place <= middle <= place + length + 3
    assert Field.around((50, 50), 300, (100, 90), 2) == Field((0, 0), (300, 300))


def test_outlines_are_two_pixels_inside_the_mask():
    mask = np.zeros((20, 30), bool)
    mask[5:15, 0:12] = True
    picture = np.full((20, 30, 3), 200, np.uint8)
    drawn = outlined(picture, mask, "#00c853")
    green = (drawn == (0, 200, 83)).all(axis=2)
    expected = mask.copy()
    expected[7:13, 0:10] = False  # no line where the picture cuts the object
    np.testing.assert_array_equal(green, expected)
    white = outlined(picture, mask, "#ffffff")
    assert (white[4, 5] == 0).all()
    assert (white[5, 5] == 255).all()
    assert (picture == 200).all()


@pytest.mark.parametrize(("width", "bar"), [(800, 200), (100, 20), (310, 100), (2999, 500)])
def test_scale_bars_have_round_lengths(width, bar):
    assert bar_length(width) == bar


def test_a_scale_bar_is_as_long_as_it_says():
    picture = np.full((200, 300, 3), 120, np.uint8)
    drawn = with_bar(picture, 600.0)
    row = (drawn[191] == 255).all(axis=1)
    assert row.sum() == pytest.approx(100, abs=1.5)  # 200 um


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
    classes = json.dumps(CLASSES)
    common = ["--record", str(slide.check), "--probability", str(slide.probability)]
    sheet = ["--sheet", str(folder / "slides.tsv"), "--classes", classes]
    run = ["--results", str(results.folder), "--models", "m1,absent"]
    for words in (
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
    ):
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
    assert [(one["what"], one["model"]) for one in field["pictures"]] == [
        ("input", ""),
        ("annotation", ""),
        ("model", "m1"),
        ("whole slide", "m1"),
    ]
    left, top = field["xy"]
    # The field is about the object that was found: 100 um = 400 px, shown at 200.
    assert left <= 260 <= left + 400
    assert top <= 1020 <= top + 400
    _, annotation, model, whole = (picture(folder, one["file"]) for one in field["pictures"])
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
    assert "tuft, 1\u202f350\u00a0µm²<small>touches nothing, reduced 2.0 times" in html
    assert html.count('alt="m1, slide s1"') == 1
    assert 'alt="Missed: tuft, 1\u202f000\u00a0µm², slide s1"' in html


def test_a_slide_that_cannot_be_read_is_left_out(tmp_path):
    (tmp_path / "slides.tsv").write_text(
        "slide\timage\tannotation\tsplit\ns1\tgone.tif\tgone.png\ttest\n"
    )
    table = scores({"s1": 0.5})
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
    index = json.loads((tmp_path / "gallery/gallery.json").read_text())
    assert index == {"fields": [], "failures": []}
    assert list(tmp_path.glob(".gallery*")) == []
