"""Outlines become the classes of pixels."""

import json

import numpy as np
import pytest
import shapely
from outline_files import ONE, SIZE, TWO, blobs, feature, features_of, read_all, square, write

from holohisto.annotation import Annotation
from holohisto.masks.geojson import geometry
from holohisto.slide.scale import Scale


@pytest.mark.parametrize("name", ["a.geojson", "a.GeoJSON.gz"])
@pytest.mark.parametrize("sigma", [0.6, 2, 8])
def test_exact_outlines_come_back_pixel_by_pixel(tmp_path, name, sigma):
    """Holes, objects in holes, pixels that touch by their corners only, and the slide's border."""
    mask = blobs(SIZE, sigma)
    path = write(tmp_path / name.replace("GeoJSON", "geojson"), features_of(mask))
    np.testing.assert_array_equal(read_all(path), mask)


def test_any_rectangle_is_a_part_of_the_whole(tmp_path):
    mask = blobs(SIZE, 4)
    path = write(tmp_path / "a.geojson", features_of(mask))
    rng = np.random.default_rng(2)
    with Annotation(path, ONE, SIZE, Scale.whole(1)) as annotation:
        for _ in range(40):
            x, y, width, height = rng.integers((-30, -30, 1, 1), (SIZE[0], SIZE[1], 200, 200))
            expected = np.pad(mask, 300)[y + 300 : y + 300 + height, x + 300 : x + 300 + width]
            np.testing.assert_array_equal(annotation.read((x, y), (width, height)), expected)


def test_a_pixel_is_inside_where_its_centre_is(tmp_path):
    rng = np.random.default_rng(7)
    shapes = []
    while len(shapes) < 30:
        centre, angles = rng.uniform(-10, 300, 2), np.sort(rng.uniform(0, 2 * np.pi, 9))
        radii = rng.uniform(5, 40, 9)[:, None]
        star = shapely.Polygon(centre + radii * np.stack([np.cos(angles), np.sin(angles)], axis=1))
        if star.is_valid:
            shapes.append(star.difference(shapely.Point(*centre).buffer(4)))
    path = write(tmp_path / "a.geojson", [feature(shape) for shape in shapes])
    y, x = np.mgrid[: SIZE[1], : SIZE[0]] + 0.5
    rounded = [shapely.from_geojson(json.dumps(geometry(shape))) for shape in shapes]
    expected = np.any([shapely.contains_xy(shape, x, y) for shape in rounded], axis=0)
    np.testing.assert_array_equal(read_all(path), expected)


def test_classes_overlap_and_objects_of_a_class_unite(tmp_path):
    shapes = [
        feature(square(10, 10, 50), "Capsule"),
        feature(square(20, 20, 10), "tuft"),
        feature(square(25, 25, 10), "Tuft: sclerotic"),
        feature(shapely.MultiPolygon([square(100, 10, 5), square(110, 10, 5)]), "capsule"),
    ]
    found = read_all(write(tmp_path / "a.geojson", shapes), TWO)
    expected = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    expected[10:60, 10:60] = expected[10:15, 100:105] = expected[10:15, 110:115] = 1
    expected[20:30, 20:30] |= 2
    expected[25:35, 25:35] |= 2
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "classification",
    [{"name": "Glomerulus"}, "glomerulus", {"names": ["Glomerulus", "x"]}, None, {}],
    ids=["name", "text", "names", "none", "empty"],
)
def test_every_form_of_classification(tmp_path, classification):
    shape = feature(square(10, 20, 5))
    shape["properties"]["classification"] = classification
    assert read_all(write(tmp_path / "a.geojson", [shape])).sum() == 25


def test_objects_of_other_classes_are_left_out_and_told(tmp_path, caplog):
    shapes = [
        feature(square(10, 10, 5), "tuft"),
        feature(square(50, 50, 5), "Tissue"),
        feature(square(60, 50, 5), "Tissue"),
        feature(square(90, 50, 5), None),
        feature(square(0, 0, 200), "tuft", objectType="tile"),
        feature({"type": "Point", "coordinates": [3, 4]}, "tuft"),
    ]
    path = write(tmp_path / "a.geojson", shapes)
    assert np.unique(read_all(path, TWO), return_counts=True)[1].tolist() == [341 * 267 - 25, 25]
    assert (
        "left out: Tissue (2), tiles (1), objects without class (1); looked for: capsule, tuft"
        in caplog.text
    )
    # Only the capsule is annotated here: what has no class is one, unless other objects have one.
    assert read_all(path, TWO, annotated=("capsule",)).sum() == 0
    path = write(tmp_path / "b.geojson", [shapes[3]])
    found = read_all(path, TWO, annotated=("capsule",))
    assert (found.sum(), found[50, 90]) == (25, 1)


def test_an_annotation_without_objects_is_empty(tmp_path):
    with Annotation(write(tmp_path / "a.geojson", []), ONE, SIZE, Scale.whole(1)) as annotation:
        assert annotation.is_empty()
        assert annotation.read((0, 0), (9, 4)).tolist() == [[0] * 9] * 4
