import math
from fractions import Fraction

import pytest

from holohisto.runtime.arithmetic import ceil_div, round_up


@pytest.mark.parametrize("step", [1, 2, 7, 16, 1000])
def test_the_quotient_is_rounded_up(step):
    for length in [*range(-20, 50), 10**18 + 1]:
        assert ceil_div(length, step) == math.ceil(Fraction(length, step))


@pytest.mark.parametrize(
    ("length", "step", "multiple"),
    [(0, 16, 0), (1, 16, 16), (16, 16, 16), (17, 16, 32), (-1, 16, 0), (-17, 16, -16)],
)
def test_the_smallest_multiple_that_is_not_below(length, step, multiple):
    assert round_up(length, step) == multiple


def test_a_step_of_zero_is_an_error():
    with pytest.raises(ZeroDivisionError):
        round_up(3, 0)
