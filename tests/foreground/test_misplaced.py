"""Outlines that lie on glass are warned of, with the factor that would bring them onto tissue."""

import json

import numpy as np
import pytest
from slide_files import tissue, write_levels

from holohisto.cli import main
from holohisto.foreground.misplaced import misplaced
from holohisto.foreground.overview import Overview

SIZE = (1437, 1051)
MPP = 0.25
PLACES = [(700, 500), (900, 620), (1100, 800)]
"""Corners of objects of 60 x 40 pixels on the tissue."""


def check(tmp_path, places, side=(60, 40)):
    """Warnings of `check` of a slide with tissue in its lower right, and such squares."""
    rgb = tissue(SIZE, (600, 420, 1300, 950))
    at = (1e4 / MPP, 1e4 / MPP)
    write_levels(tmp_path / "s.tif", [rgb], resolution=at, resolutionunit="CENTIMETER")
    wide, high = side
    rings = [
        [[x, y], [x + wide, y], [x + wide, y + high], [x, y + high], [x, y]] for x, y in places
    ]
    features = [
        {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}}
        for ring in rings
    ]
    outlines = tmp_path / "s.geojson"
    outlines.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    words = ["check", tmp_path / "s.tif", "--slide", "s", "--annotation", outlines]
    words += ["--classes", '{"glomerulus": {}}', "--output", tmp_path / "s.json"]
    assert main([str(word) for word in words]) == 0
    return json.loads((tmp_path / "s.json").read_text())["warnings"]


def test_outlines_on_tissue_are_no_warning(tmp_path):
    assert check(tmp_path, PLACES) == []
    assert check(tmp_path, [*PLACES, (20, 30), (40, 800)]) == []


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (MPP, "but on tissue if they are in micrometres: export them in pixels"),
        (1 / 8, "but on tissue if enlarged 8 times: export them in pixels of the full resolution"),
    ],
)
def test_outlines_in_other_units_are_named(tmp_path, factor, words):
    places = [(x * factor, y * factor) for x, y in PLACES]
    (warning,) = check(tmp_path, places, (60 * factor, 40 * factor))
    assert warning == f"3 of 3 outlines lie where the slide shows no tissue, {words}"


def test_outlines_of_another_slide_are_asked_about(tmp_path):
    (warning,) = check(tmp_path, [(100, 900), (500, 100), (700, 500)])
    assert warning == (
        "2 of 3 outlines lie where the slide shows no tissue: is it the annotation of this slide?"
    )


def test_boxes_touch_every_pixel_that_they_overlap_and_nothing_outside():
    stained = np.zeros((21, 33), bool)
    stained[10:12, 20:22] = True
    overview = Overview(stained, 0.0, 8.0)
    touching = np.array([[150.0, 70, 160, 80], [166, 86, 400, 300]])
    assert misplaced(touching, overview, (0.5, 0.5)) is None
    beside = np.array([[176.0, 80, 300, 88], [160, 60, 167, 79.9], [-50, -50, -5, -5]])
    assert "3 of 3 outlines" in str(misplaced(beside, overview, (0.5, 0.5)))
    stained[10:12, 20:22] = np.eye(2)  # noise of single pixels, on a grey slide
    assert misplaced(beside, Overview(stained, 0.0, 8.0), (0.5, 0.5)) is None
