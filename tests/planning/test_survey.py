"""The table of a sheet's slides."""

import pytest

from holohisto.planning.survey import colour_text


@pytest.mark.parametrize(
    ("rgb", "text"),
    [((255, 255, 255), "white"), ((0, 0, 0), "black"), ((243, 16, 0), "#f31000")],
)
def test_colours_of_the_table(rgb, text):
    assert colour_text(rgb) == text
