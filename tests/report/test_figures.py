"""Charts and embedded pictures."""

import math
import re

import numpy as np
import pytest
from PIL import Image
from report_pictures import pictures

from holohisto.report.pictures import figures
from holohisto.report.pictures.embedded import embedded


def test_box_plot_places_quantiles_on_a_logarithmic_axis():
    box = figures.Box("g", 7, [100, 200, 400, 800, 1600])
    drawing = str(figures.box_plot([box], "label"))
    low, high = 100 / 1.1, 1600 * 1.1
    span = figures.WIDTH - figures.LEFT - figures.RIGHT
    left = figures.LEFT + span * math.log(200 / low) / math.log(high / low)
    width = span * math.log(4) / math.log(high / low)
    assert f'<rect class="half" x="{left:.1f}"' in drawing
    assert f'width="{width:.1f}"' in drawing
    assert re.findall(r">(\d+)</text>", drawing) == ["100", "200", "500", "1000"]


def test_picture_keeps_side_and_budget(tmp_path):
    image, _ = pictures(1500, np.random.default_rng(0))
    image.save(tmp_path / "a.jpg")
    made = embedded(tmp_path / "a.jpg", 640, 58_000)
    assert made is not None
    assert made.width <= 640
    assert abs(made.height / made.width - 0.7) < 0.01
    assert len(made.data) < 58_000 * 4 / 3 + 30
    assert embedded(tmp_path / "absent.jpg", 640, 1000) is None


def test_even_noise_fits_the_budget(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (900, 1300, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    made = embedded(tmp_path / "a.png", 640, 20_000)
    assert made is not None
    assert 100 < made.width < 640
    assert len(made.data) < 20_000 * 4 / 3 + 30


def test_dot_plot_places_dots_by_their_dice():
    dots = figures.Dots(("m", "k<"), {"s&1": {"m": 1.0, "k<": 0.5}, "s2": {"m": 0.75}}, "m")
    drawing = str(figures.dot_plot(dots, 0.5, "label"))
    xs = [float(x) for x in re.findall(r'<circle class="\w+" cx="([\d.]+)"', drawing)]
    width = figures.WIDTH - figures.LEFT - figures.RIGHT
    assert xs == [figures.LEFT + width, figures.LEFT + width / 2, figures.LEFT]
    assert "s&amp;1: 100.00 %" in drawing
    assert "k&lt;" in drawing
    assert "mean 87.50 %" in drawing


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.25, 0.5, 0.75, 1]),
        (0.0567, 0.354, [0, 0.1, 0.2, 0.3, 0.4]),
        (18.1, 30.8, [15, 20, 25, 30, 35]),
        (10, 1000, [0, 250, 500, 750, 1000]),
    ],
)
def test_ticks_are_round_and_enclose(low, high, ticks):
    assert figures.round_ticks(low, high) == pytest.approx(ticks)


def test_curve_needs_two_points_and_skips_gaps():
    nan = math.nan
    assert figures.curve([1, 2], [nan, 3], "loss", "step") is None
    assert figures.curve([1, 2, 3], [1, nan, 3], "loss", "step") is not None
    assert figures.curve([1, 2], [3, 3], "loss", "step") is not None
    long = str(figures.curve(list(range(10_000)), [1.0] * 9_999 + [2.0], "loss", "step"))
    assert len(long) < 8_000
    assert figures.lower_end([0.93, 0.99, nan]) == 0.9
    assert figures.lower_end([0.71]) == pytest.approx(0.6)
    assert figures.lower_end([0.0]) == 0.0
