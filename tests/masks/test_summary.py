"""Number and areas of the objects of a slide."""

import gzip
import json
import math

import numpy as np
import pytest

from holohisto.foreground.map import Foreground
from holohisto.masks.summary import summaries, table


def feature(name, area):
    measures = {"Area µm^2": area, "Mean probability": 0.5}
    return {"properties": {"classification": {"name": name}, "measurements": measures}}


@pytest.mark.parametrize("name", ["s.geojson", "s.geojson.gz"])
def test_objects_are_counted_and_measured_by_class(tmp_path, name):
    features = [feature("tuft", 100.0), feature("capsule", 7.0), feature("tuft", 20.0)]
    text = json.dumps({"features": [*features, feature("tuft", 60.0)]}).encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    mask = np.zeros((7, 9), bool)
    mask[:2, :5] = True  # 10 cells of 16 px, at 0.5 um: 640 um2
    tissue = Foreground(mask, 16, 0.0)
    found = summaries("s", path, ["tuft", "capsule", "vessel"], tissue, 0.5)
    tuft, capsule, vessel = found
    assert (tuft.slide, tuft.label, tuft.objects) == ("s", "tuft", 3)
    assert (tuft.area_um2, tuft.mean_um2, tuft.median_um2) == (180.0, 60.0, 60.0)
    assert (tuft.tissue_mm2, tuft.share_of_tissue) == (0.0006, 0.28125)
    assert (capsule.objects, capsule.area_um2) == (1, 7.0)
    assert (vessel.objects, vessel.area_um2) == (0, 0.0)
    assert math.isnan(vessel.mean_um2)
    lines = table(found).splitlines()
    columns = [
        line.index(word) for line, word in zip(lines[:3], ("area", "180", "7.0"), strict=True)
    ]
    assert len(set(columns)) == 1
