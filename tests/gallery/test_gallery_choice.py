"""Choice of slides and fields, and drawing on them."""

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from holohisto.gallery.choice import densest, largest_errors, objects_drawn, typical, worst
from holohisto.gallery.drawing import FieldOfView, bar_length, outlined, squared, with_bar
from holohisto.masks.overlay import proportions
from holohisto.slide.array import ArraySlide
from holohisto.slide.scale import Scale


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
    assert [(error["class"], error["area_um2"]) for error in errors["extra"]] == [
        ("capsule", 11),
        ("tuft", 9),
    ]
    assert [error["area_um2"] for error in errors["missed"]] == [8, 3]
    assert objects_drawn(record)[:, 0].tolist() == [5, 2, 8, 3]


def test_fields_lie_in_the_slide_on_working_pixels():
    for centre in ((0, 0), (1203, 611), (601, 305)):
        field = FieldOfView.around(centre, 301, (1203, 611), Scale.whole(4))
        assert field.size == (300, 300)
        assert all(corner % 4 == 0 for corner in field.xy)
        for corner, length, whole, middle in zip(
            field.xy, field.size, (1203, 611), centre, strict=True
        ):
            assert 0 <= corner <= whole - length
            assert corner <= middle <= corner + length + 3
    assert FieldOfView.around((50, 50), 300, (100, 90), Scale.whole(2)) == FieldOfView(
        (0, 0), (300, 300)
    )


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


OBLONG = Scale(Fraction(1), Fraction(2))
"""Of a slide of 0.5 x 0.25 um per pixel at 0.5."""


def test_a_field_of_oblong_pixels_is_square_in_micrometres():
    field = FieldOfView.around((300, 600), 201, (703, 1060), OBLONG)
    assert (field.xy, field.size) == ((199, 398), (201, 402))
    scale = Scale(Fraction(20, 13), Fraction(20, 13))
    field = FieldOfView.around((300.0, 600.0), 201, (703, 1060), scale)
    assert field.size == (202, 202)  # 131 working pixels


def test_oblong_pixels_are_shown_square():
    pixels = np.arange(24).reshape(4, 2, 3)
    shown = squared(pixels, OBLONG)
    assert shown.shape == (4, 4, 3)
    np.testing.assert_array_equal(shown, pixels.repeat(2, axis=1))
    assert squared(pixels, Scale.whole(2)) is pixels
    slide = ArraySlide(np.zeros((1060, 703, 3), np.uint8), mpp=(0.5, 0.25))
    assert proportions(slide) == (703, 530)
