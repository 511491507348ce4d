"""Working pixels and level-0 pixels over each other, against brute force."""

from fractions import Fraction

import numpy as np
import pytest
from pydantic import BaseModel

from holohisto.slide.scale import Scale, ScaleField, first_pixels, working_pixels

STEPS = ["1", "2", "5", "20/13", "25/22", "10/11", "200/93", "4/5", "3/2"]


@pytest.mark.parametrize("step", [*map(Fraction, STEPS)], ids=STEPS)
def test_a_level_0_pixel_belongs_to_the_working_pixel_that_its_centre_lies_in(step):
    pixels = np.arange(-40, 300)
    expected = [(Fraction(2 * int(pixel) + 1, 2) / step).__floor__() for pixel in pixels]
    assert working_pixels(step, pixels).tolist() == expected
    first = first_pixels(step, np.arange(-8, 120))
    for number, pixel in zip(range(-8, 120), first.tolist(), strict=True):
        assert working_pixels(step, pixel) >= number > working_pixels(step, pixel - 1)


def test_a_working_pixel_of_a_whole_scale_is_a_block():
    scale = Scale.whole(3)
    assert (scale.factor, str(scale), scale.texts) == (3, "3", ["3", "3"])
    assert scale.working_size((301, 300)) == (101, 100)
    assert scale.first_pixel((7, 11)) == (21, 33)
    assert scale.times(4) == Scale.whole(12)


def test_a_scale_of_fractions_differs_along_x_and_y():
    scale = Scale(Fraction(20, 13), Fraction(2))
    assert scale.factor is None
    assert str(scale) == "1.5385 x 2"
    assert scale.working_size((1301, 999)) == (846, 500)
    assert scale.working_size((1300, 1000)) == (845, 500)
    assert scale.times(16).working_size((1301, 999)) == (53, 32)
    assert Scale(Fraction(3), Fraction(2)).factor is None


class Holder(BaseModel):
    scale: ScaleField


def test_a_scale_is_stored_exactly():
    scale = Scale(Fraction(20, 13), Fraction(200, 93))
    text = Holder(scale=scale).model_dump_json()
    assert text == '{"scale":["20/13","200/93"]}'
    assert Holder.model_validate_json(text).scale == scale


@pytest.mark.parametrize("stored", ["2", ["2"], ["2", "0"], ["2", "-1"], ["2", "x"], ["1/0", "1"]])
def test_other_values_are_no_scale(stored):
    with pytest.raises(ValueError, match=r"scale|Fraction"):
        Scale.parse(stored)
