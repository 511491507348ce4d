"""Pictures of tissue on glass with strokes of a pen; never square, no side a multiple of 16."""

import numpy as np

SIZE = (1203, 907)
PENS = {
    "blue": (40, 60, 160),
    "green": (40, 140, 90),
    "black": (30, 30, 35),
    "red": (190, 40, 50),
}
BESIDE = (60, 120, 200, 1000)
"""Top, bottom, left and right of a stroke on glass."""
ACROSS = (500, 580, 150, 1000)
"""The same of a stroke over the tissue and the glass on both of its sides."""


def drawn(glass=(243, 243, 243), tissue=(205, 130, 175), radii=(300, 230)):
    """An ellipse of stained tissue with dark dots on glass, (h, w, 3) float, and where it is."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    inside = np.hypot((x - 560) / radii[0], (y - 540) / radii[1]) < 1
    rgb = np.empty((SIZE[1], SIZE[0], 3))
    rgb[:] = glass
    rgb[inside] = np.array(tissue) * np.array(glass) / 243
    dots = inside & (random.random(inside.shape) < 0.06)
    rgb[dots] *= 0.6
    return rgb + random.normal(0, 3, rgb.shape), inside


def with_pen(rgb, colour, stroke=BESIDE, light=None):
    """A picture with a stroke of ink.

    Args:
        rgb: The picture.
        colour: Colour of the ink on glass.
        stroke: Top, bottom, left and right, pixels.
        light: Colour of the glass, where ink lets through what is under it; None: opaque ink.
    """
    rgb = rgb.copy()
    top, bottom, left, right = stroke
    ink = np.array(colour) + np.random.default_rng(1).normal(0, 4, (bottom - top, right - left, 3))
    under = 1 if light is None else rgb[top:bottom, left:right] / np.array(light)
    rgb[top:bottom, left:right] = ink * under
    return rgb


def under(stroke):
    """Which pixels a stroke covers, (h, w) bool."""
    top, bottom, left, right = stroke
    covered = np.zeros((SIZE[1], SIZE[0]), bool)
    covered[top:bottom, left:right] = True
    return covered
