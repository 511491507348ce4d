"""Slides whose colours lie outside what training saw."""

import numpy as np
import pytest

from holohisto.foreground.map import Foreground, save_foreground
from holohisto.foreground.notes import facts_in
from holohisto.foreground.unlike import LIMIT, distance, unlike
from holohisto.slide.scale import Scale
from holohisto.tiles.colour import COMMON, Colour


def stained(mean=COMMON.mean, scale=1.0, spread=1.0):
    covariance = np.array(COMMON.covariance) * (scale * spread) ** 2
    return Colour.of([value * scale for value in mean], covariance.tolist())


BLUE = stained((0.48, 0.30, 0.21))
"""As dense as the common stain, but of another hue."""


def test_distance_is_in_spreads_of_hue_and_of_density():
    assert distance(COMMON, COMMON) == pytest.approx(0, abs=1e-5)
    assert distance(COMMON, stained(scale=np.exp(0.5))) == pytest.approx(0.5 / 0.25, abs=1e-5)
    shift = np.linalg.norm(np.array(BLUE.mean) - COMMON.mean) / 0.99
    assert distance(COMMON, BLUE) == pytest.approx(shift / 0.04, abs=1e-5)
    assert distance(BLUE, COMMON) == pytest.approx(distance(COMMON, BLUE))


def test_two_dyes_differ_from_one_of_the_same_mean():
    both = np.array(COMMON.covariance) + np.outer((1, 0, -1), (1, 0, -1)) * 0.02
    assert distance(COMMON, Colour.of(COMMON.mean, both.tolist())) > LIMIT


def test_another_hue_is_unlike_and_a_paler_slide_of_the_same_is_not():
    colours = {"t1": COMMON, "t2": stained(scale=1.05), "e1": BLUE, "e2": stained(scale=0.85)}
    found = unlike(colours, ["t1", "t2"])
    assert list(found) == ["e1"]
    away = min(distance(BLUE, colours[name]) for name in ("t1", "t2"))
    assert found["e1"] == (
        f"colours unlike every training slide: distance {away:.1f} from the nearest, where"
        " 2.0 is usual; results on it are less certain"
    )


def test_one_training_slide_does_not_make_every_other_unlike():
    assert unlike({"t1": COMMON, "e1": stained(scale=1.2)}, ["t1"]) == {}
    assert list(unlike({"t1": COMMON, "e1": BLUE}, ["t1"])) == ["e1"]


def test_training_slides_far_apart_allow_more():
    colours = {"t1": COMMON, "t2": stained(scale=3.0), "e1": stained(scale=0.5)}
    assert distance(colours["e1"], COMMON) > LIMIT
    assert unlike(colours, ["t1", "t2"]) == {}
    assert list(unlike(colours, ["t1"])) == ["t2", "e1"]


def test_without_training_slides_nothing_is_unlike():
    assert unlike({"e1": BLUE}, []) == {}
    assert unlike({"e1": BLUE}, ["t1"]) == {}


class Record:
    slide, scale, fingerprint, working_mpp = "e1", Scale.whole(1), "p", 0.5


def test_colours_are_read_from_the_maps_that_are_there(tmp_path):
    cells = np.ones((4, 5), bool)
    save_foreground(tmp_path / "e1.tif", Foreground(cells, 16, 0.05, BLUE), Record())
    save_foreground(tmp_path / "grey.tif", Foreground(cells, 16, 0.05, None), Record())
    (tmp_path / "broken.tif").write_bytes(b"no map")
    names = ("e1", "grey", "broken", "missing")
    found = facts_in({name: tmp_path / f"{name}.tif" for name in names})
    assert {name: facts.colour for name, facts in found.items()} == {"e1": BLUE, "grey": None}
