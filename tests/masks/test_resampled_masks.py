"""Masks of slides of any resolution: level-0 size and place, by the inverse map."""

import json
from fractions import Fraction

import numpy as np
import openslide
import pytest
import shapely
import tifffile
from labelled_slide import LabelledSlide
from mask_verb import CLASSES, draw, run_mask
from outline_files import blobs

from holohisto.annotation import Annotation
from holohisto.config.sections import ClassOptions

CASES = {
    "0.325": ((1203, 2111), (0.325, 0.325)),
    "0.44": ((731, 1405), (0.44, 0.44)),
    "0.2325": ((1001, 1822), (0.2325, 0.2325)),
    "0.55": ((611, 1107), (0.55, 0.55)),
    "0.5 x 0.25": ((507, 2301), (0.5, 0.25)),
    "0.25 x 0.44": ((803, 1307), (0.25, 0.44)),
}
UNCLEANED = {"min_object_um2": 0, "max_hole_um2": 0, "simplify_um": 0}
by_resolution = pytest.mark.parametrize(("size", "mpp"), CASES.values(), ids=CASES)


def enlarged(labels, size, mpp):
    """The labels at level 0: each pixel those of the working pixel that its centre lies in."""
    columns, rows = (
        [int((pixel + Fraction(1, 2)) * Fraction(str(own)) / Fraction("0.5")) for pixel in range(n)]
        for n, own in zip(size, mpp, strict=True)
    )
    return labels[np.ix_(rows, columns)]


@by_resolution
def test_masks_have_the_slides_size_resolution_and_place(tmp_path, size, mpp):
    slide = LabelledSlide(tmp_path, size, 0, mpp, working=0.5)
    labels = draw(slide)
    slide.write_labels(labels, CLASSES)
    assert run_mask(slide, CLASSES, **UNCLEANED, ome=True) == 0
    for bit, name in enumerate(CLASSES):
        expected = enlarged(labels >> bit & 1, size, mpp).astype(np.uint8) * 255
        path = tmp_path / "out" / "m1" / f"s1_{name}.tif"
        with openslide.OpenSlide(path) as mask:
            assert mask.dimensions == size
            own = [float(mask.properties[f"openslide.mpp-{axis}"]) for axis in "xy"]
            assert own == pytest.approx(mpp, rel=1e-5)
            grey = np.asarray(mask.read_region((0, 0), 0, size).convert("L"))
        np.testing.assert_array_equal(grey, expected)
        with tifffile.TiffFile(path.with_suffix(".ome.tif")) as ome:
            np.testing.assert_array_equal(ome.series[0].asarray(), expected)
            pixels = tifffile.xml2dict(ome.ome_metadata)["OME"]["Image"]["Pixels"]
        assert [pixels["PhysicalSizeX"], pixels["PhysicalSizeY"]] == pytest.approx(mpp)


@by_resolution
def test_areas_are_true_and_outlines_are_those_of_the_mask(tmp_path, size, mpp):
    slide = LabelledSlide(tmp_path, size, 0, mpp, working=0.5)
    labels = blobs(slide.working_size, 14).astype(np.uint8)
    slide.write_labels(labels, ["tuft"])
    assert run_mask(slide, {"tuft": {}}, **UNCLEANED) == 0
    features = json.loads((tmp_path / "out" / "s1.geojson").read_text())["features"]
    total = 0.0
    for feature in features:
        area = feature["properties"]["measurements"]["Area µm^2"]
        polygon = shapely.from_geojson(json.dumps(feature["geometry"]))
        assert area == pytest.approx(polygon.area * mpp[0] * mpp[1], rel=0.01)
        total += area
    width, height = slide.working_size  # the last pixels are cut at the border of the slide
    cut = [Fraction(n) * Fraction(str(own)) for n, own in zip(size, mpp, strict=True)]
    covered = np.full(labels.shape, 0.25)
    covered[:, -1] *= float(cut[0] / Fraction("0.5") - (width - 1))
    covered[-1] *= float(cut[1] / Fraction("0.5") - (height - 1))
    assert total == pytest.approx(covered[labels > 0].sum(), rel=1e-6)
    delivered = tifffile.imread(tmp_path / "out" / "m1" / "s1_tuft.tif") > 0
    classes = {"tuft": ClassOptions()}
    with Annotation(tmp_path / "out" / "s1.geojson", classes, size, slide.scale) as drawn:
        differing = (drawn.bits(0, 0, *size) > 0) != delivered
        assert differing.mean() < 1e-4
        back = drawn.read((0, 0), slide.working_size)
    both = (back & labels).sum() / (back | labels).sum()
    assert both > 0.98  # edges that level 0 cannot hold
