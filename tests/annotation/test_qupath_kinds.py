"""Kinds of objects in QuPath's GeoJSON: what is an annotation, and what is none."""

import json

import pytest
import shapely
from outline_files import TWO, feature, read_all, square, write

from holohisto.errors import HolohistoError

GLOMERULUS = feature(square(10, 20, 20))
"""20 x 20 pixels of the class glomerulus."""


def of_kind(shape, classification, kind, version):
    """A feature whose kind is named as a version of QuPath does."""
    made = feature(shape, classification)
    del made["properties"]["objectType"]
    names = {"0.4": "objectType", "0.3": "object_type"}
    words = {"tile": "PathTileObject", "tmaCore": "TMACoreObject", "detection": "PathCellObject"}
    if version in names:
        made["properties"][names[version]] = kind
    else:
        made["id"] = words.get(kind, "PathAnnotationObject")
    return made


@pytest.mark.parametrize("version", ["0.4", "0.3", "0.2"])
@pytest.mark.parametrize("kind", ["tile", "tmaCore", "detection", "annotation"])
@pytest.mark.parametrize("first", [True, False])
def test_beside_classified_objects_nothing_unclassified_is_an_annotation(
    tmp_path, caplog, version, kind, first
):
    others = [of_kind(square(100 + 30 * i, 100, 25), None, kind, version) for i in range(3)]
    classified = of_kind(square(10, 20, 20), "glomerulus", "annotation", version)
    shapes = [classified, *others] if first else [*others, classified]
    found = read_all(write(tmp_path / "a.geojson", shapes))
    assert found.sum() == found[20:40, 10:30].sum() == 400
    words = {"tile": "tiles", "tmaCore": "TMA cores", "detection": "detections"}
    assert f"left out: {words.get(kind, 'objects without class')} (3)" in caplog.text


@pytest.mark.parametrize(
    ("version", "kind"), [("0.2", "tile"), ("0.3", "tmaCore"), ("0.4", "cell")]
)
def test_tiles_cores_and_cells_alone_are_no_annotation(tmp_path, version, kind):
    alone = of_kind(square(10, 20, 20), None, kind, version)
    if version == "0.2":
        assert alone["id"] == "PathTileObject"
    assert read_all(write(tmp_path / "a.geojson", [alone])).sum() == 0


def test_unclassified_outlines_beside_another_class_are_no_annotation(tmp_path):
    shapes = [feature(square(10, 20, 20), None), feature(square(50, 50, 9), "Tissue")]
    assert read_all(write(tmp_path / "a.geojson", shapes)).sum() == 0
    assert read_all(write(tmp_path / "a.geojson", shapes[:1])).sum() == 400


def test_classified_detections_count_where_no_annotation_does(tmp_path, caplog):
    cells = [feature(square(100, 100, 9), "glomerulus", objectType="cell")]
    cells[0]["nucleusGeometry"] = feature(square(103, 103, 2))["geometry"]
    region = feature(square(90, 90, 40), "Region*")
    assert read_all(write(tmp_path / "a.geojson", [region, *cells])).sum() == 81
    assert "no annotation has one of the classes" in caplog.text
    found = read_all(write(tmp_path / "b.geojson", [*cells, GLOMERULUS]))
    assert (found.sum(), found[100, 100]) == (400, 0)


@pytest.mark.parametrize("key", ["childObjects", "children"])
@pytest.mark.parametrize("inside", [True, False])
def test_objects_in_objects_are_read(tmp_path, key, inside):
    region = feature(square(0, 0, 200), "Region*")
    child = feature(square(50, 60, 10), "tuft")
    capsule = feature(square(45, 55, 20), "capsule")
    for holder, held in ((capsule, child), (region, capsule)):
        (holder["properties"] if inside else holder)[key] = [held]
    root = {"type": "Feature", "geometry": None, "properties": {"objectType": "root"}}
    root["properties"][key] = [region]
    found = read_all(write(tmp_path / "a.geojson", [root]), TWO)
    assert ((found == 1).sum(), (found == 3).sum()) == (300, 100)
    assert found[60, 50] == 3


def test_only_the_first_plane_is_read(tmp_path, caplog):
    planes = [{"c": -1, "z": 0, "t": 0}, {"c": -1, "z": 1, "t": 0}, {"c": -1, "z": 0, "t": 2}]
    shapes = [feature(square(10 + 40 * i, 20, 20)) for i in range(3)]
    for shape, plane in zip(shapes, planes, strict=True):
        shape["geometry"]["plane"] = plane
    found = read_all(write(tmp_path / "a.geojson", shapes))
    assert found.sum() == found[20:40, 10:30].sum() == 400
    assert "left out: objects on other planes than the first (2)" in caplog.text


def test_empty_geometries_are_no_objects(tmp_path):
    empty = [{"type": "Polygon", "coordinates": []}, {"type": "MultiPolygon", "coordinates": [[]]}]
    shapes = [feature(shape) for shape in (*empty, None)]
    assert read_all(write(tmp_path / "a.geojson", [*shapes, GLOMERULUS])).sum() == 400


def test_most_objects_outside_the_slide_are_an_error(tmp_path, caplog):
    inside, outside = GLOMERULUS, feature(square(900, 20, 9))
    assert read_all(write(tmp_path / "a.geojson", [inside, outside])).sum() == 400
    assert "1 of 2 outlines lie outside the slide" in caplog.text
    path = write(tmp_path / "b.geojson", [inside, outside, feature(square(-50, 0, 50))])
    with pytest.raises(HolohistoError, match="2 of 3 outlines lie outside the slide"):
        read_all(path)


@pytest.mark.parametrize("wrap", [lambda g: g, lambda g: {"type": "Feature", "geometry": g}])
def test_a_geometry_that_stands_alone_is_an_object_without_class(tmp_path, wrap):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(wrap(feature(square(10, 20, 20))["geometry"])))
    assert read_all(path).sum() == 400
    assert read_all(path, TWO).sum() == 0


def nested(depth):
    inner = GLOMERULUS
    for _ in range(depth):
        inner = {**feature(shapely.box(1, 1, 9, 9)), "childObjects": [inner]}
    return inner


RING = "[[1, 1], [9, 1], [9, 9], [1, 1]]"
POLYGON = '{{"type": "Feature", "geometry": {{"type": "Polygon", "coordinates": {}}}}}'
BAD = {
    "nothing": ("{}", "with the keys nothing (allowed TIFF, PNG, JPEG, GeoJSON"),
    "null": ('{"type": "FeatureCollection", "features": null}', "are no list"),
    "tool": ('{"elements": [], "name": "x"}', "JSON of another tool, with the keys elements, name"),
    "list": (f'[{{"type": "Polygon", "coordinates": [{RING}]}}]', "it is no feature"),
    "type": ('{"type": "Feature", "geometry": {"type": ["x"]}}', "its type is none of GeoJSON"),
    "geometry": ('{"type": "Feature", "geometry": [1]}', "its geometry is no object"),
    "properties": ('{"type": "Feature", "properties": 3}', "its properties are no object"),
    "children": ('{"type": "Feature", "children": 3}', "children is no list"),
    "child": ('{"type": "Feature", "children": [3]}', "it is no feature"),
    "nested": (json.dumps(nested(60)), "more than 50 objects hold one another"),
    "deep": ("[" * 100_000, "no whole JSON"),
    "huge": (POLYGON.format(f"[[[1, 1], [{'9' * 400}, 1], [9, 9]]]"), "a number is too large"),
    "digits": (POLYGON.format(f"[[[1, 1], [{'9' * 5000}, 1], [9, 9]]]"), "no whole JSON"),
    "infinite": (POLYGON.format("[[[1, 1], [1e999, 1], [9, 9]]]"), "is not between -1e+09"),
    "far": (POLYGON.format("[[[1, 1], [1e10, 1], [9, 9]]]"), "is not between -1e+09"),
    "objects": (POLYGON.format('[[{"x": 1}, {"x": 2}, {"x": 3}]]'), "makes no sense"),
    "numbers": (POLYGON.format("[1, 2, 3]"), "makes no sense"),
    "ragged": (POLYGON.format("[[[1, 2], [3], [4, 5]]]"), "makes no sense"),
    "truth": (POLYGON.format("true"), "makes no sense"),
    "bytes": (b'{"type": "\xff"}', "is damaged"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_makes_no_sense_is_one_line(tmp_path, name):
    text, words = BAD[name]
    path = tmp_path / "a.geojson"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(HolohistoError) as caught:
        read_all(path)
    line = str(caught.value).removeprefix(str(path))
    assert words in line
    assert "\n" not in line
    assert len(line) < 300


def test_names_in_messages_are_short_and_printable(tmp_path, caplog):
    shapes = [feature(square(10, 20, 5), name) for name in ("a\x1b[31m\nb", "c" * 500)]
    read_all(write(tmp_path / "a.geojson", [*shapes, GLOMERULUS]))
    (record,) = caplog.records
    message = record.getMessage().removeprefix(str(tmp_path))
    assert message.isprintable()
    assert len(message) < 200
