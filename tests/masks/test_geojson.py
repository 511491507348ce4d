"""Outlines for QuPath."""

import gzip
import json
from itertools import chain

import jsonschema
import pytest
import shapely
from labelled_slide import LabelledSlide
from mask_verb import CASES, CLASSES, draw, run_mask
from objects import cleaned_slowly

from holohisto.annotation import Annotation
from holohisto.config.sections import ClassOptions
from holohisto.slide.scale import Scale


@pytest.mark.parametrize(("size", "factor", "mpp"), CASES)
def test_geojson_has_exact_valid_objects(tmp_path, size, factor, mpp):
    slide = LabelledSlide(tmp_path, size, factor, mpp)
    labels = draw(slide)
    slide.write_labels(labels, CLASSES)
    um2 = (mpp * factor) ** 2
    options = {"min_object_um2": 10 * um2, "max_hole_um2": 10 * um2, "simplify_um": 0}
    assert run_mask(slide, CLASSES, **options) == 0
    collection = json.loads((tmp_path / "out" / "s1.geojson").read_text())
    assert collection["type"] == "FeatureCollection"
    features = collection["features"]
    by_class = {name: [] for name in CLASSES}
    for feature in features:
        polygon = shapely.from_geojson(json.dumps(feature["geometry"]))
        properties = feature["properties"]
        assert polygon.is_valid
        assert properties["objectType"] == "annotation"
        measured = properties["measurements"]["Area µm^2"]
        assert measured == pytest.approx(polygon.area * mpp**2, abs=1e-3)
        assert properties["measurements"]["Mean probability"] == 0.8
        assert polygon.bounds[2] <= size[0]
        assert polygon.bounds[3] <= size[1]
        by_class[properties["classification"]["name"]].append(polygon)
    assert [len(polygons) for polygons in by_class.values()] == [2, 2, 0]
    rectangle, ring = sorted(by_class["tuft"], key=shapely.area)
    assert rectangle.area == 20 * 30 * factor**2  # the small hole is filled
    assert len(ring.interiors) == 1  # one object, though it crosses a border of bands
    mask = cleaned_slowly(labels & 1 != 0, 10, 10)
    assert ring.area == (mask.sum() - 600) * factor**2
    assert features[0]["properties"]["classification"] == {"name": "tuft", "color": [255, 128, 0]}
    assert len({feature["id"] for feature in features}) == 4
    first = (tmp_path / "out" / "s1.geojson").read_bytes()
    assert run_mask(slide, CLASSES, **options) == 0
    assert (tmp_path / "out" / "s1.geojson").read_bytes() == first


QUPATH = {
    "type": "object",
    "required": ["type", "features"],
    "properties": {
        "type": {"const": "FeatureCollection"},
        "features": {"type": "array", "items": {"$ref": "#/$defs/feature"}},
    },
    "additionalProperties": False,
    "$defs": {
        "feature": {
            "type": "object",
            "required": ["type", "id", "geometry", "properties"],
            "properties": {
                "type": {"const": "Feature"},
                "id": {"type": "string", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"},
                "geometry": {
                    "oneOf": [
                        {
                            "properties": {
                                "type": {"const": "Polygon"},
                                "coordinates": {"$ref": "#/$defs/rings"},
                            }
                        },
                        {
                            "properties": {
                                "type": {"const": "MultiPolygon"},
                                "coordinates": {
                                    "type": "array",
                                    "minItems": 2,
                                    "items": {"$ref": "#/$defs/rings"},
                                },
                            }
                        },
                    ],
                    "required": ["type", "coordinates"],
                    "additionalProperties": False,
                    "properties": {"type": {}, "coordinates": {}},
                },
                "properties": {
                    "type": "object",
                    "required": ["objectType", "classification"],
                    "properties": {
                        "objectType": {
                            "enum": ["annotation", "detection", "cell", "tile", "tma_core", "root"]
                        },
                        "name": {"type": "string"},
                        "isLocked": {"type": "boolean"},
                        "classification": {
                            "type": "object",
                            "required": ["name", "color"],
                            "properties": {
                                "name": {"type": "string"},
                                "color": {
                                    "type": "array",
                                    "minItems": 3,
                                    "maxItems": 3,
                                    "items": {"type": "integer", "minimum": 0, "maximum": 255},
                                },
                            },
                            "additionalProperties": False,
                        },
                        "measurements": {
                            "type": "object",
                            "additionalProperties": {"type": "number"},
                        },
                        "metadata": {
                            "type": "object",
                            "additionalProperties": {"type": "string"},
                        },
                    },
                    "additionalProperties": False,
                },
            },
            "additionalProperties": False,
        },
        "rings": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "array",
                "minItems": 4,
                "items": {
                    "type": "array",
                    "minItems": 2,
                    "maxItems": 2,
                    "items": {"type": "number"},
                },
            },
        },
    },
}
"""What QuPath 0.5 writes and reads: GeoJSON with objectType, name, classification with colour,
measurements as numbers by name, and metadata as texts by name."""


def test_outlines_are_of_qupaths_documented_form(tmp_path):
    slide = LabelledSlide(tmp_path, (301, 1237), 1, 0.5)
    labels = draw(slide)
    labels[700:740, 20:60] = labels[740:790, 60:120] = 1  # two parts that touch by a corner
    slide.write_labels(labels, CLASSES)
    assert run_mask(slide, CLASSES, min_object_um2=3, max_hole_um2=3) == 0
    collection = json.loads((tmp_path / "out" / "s1.geojson").read_text())
    jsonschema.validate(collection, QUPATH)
    kinds = {feature["geometry"]["type"] for feature in collection["features"]}
    assert kinds == {"Polygon", "MultiPolygon"}
    for feature in collection["features"]:
        first = feature["geometry"]["coordinates"]
        rings = first if feature["geometry"]["type"] == "Polygon" else chain(*first)
        assert all(ring[0] == ring[-1] for ring in rings)


def test_gzipped_outlines_hold_the_same_and_are_an_annotation(tmp_path):
    slide = LabelledSlide(tmp_path, (301, 1237), 1, 0.5)
    slide.write_labels(draw(slide), CLASSES)
    assert run_mask(slide, CLASSES) == 0
    assert run_mask(slide, CLASSES, "{slide}.geojson.gz", gzip=True) == 0
    packed = tmp_path / "out" / "s1.geojson.gz"
    plain = (tmp_path / "out" / "s1.geojson").read_bytes()
    assert gzip.decompress(packed.read_bytes()) == plain
    first = packed.read_bytes()
    assert run_mask(slide, CLASSES, "{slide}.geojson.gz", gzip=True) == 0
    assert packed.read_bytes() == first
    classes = {name: ClassOptions() for name in CLASSES}
    with Annotation(packed, classes, slide.size, Scale.whole(1), tuple(CLASSES)) as annotation:
        assert not annotation.is_empty()
