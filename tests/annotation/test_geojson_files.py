"""GeoJSON in all its forms, of any size, and damaged."""

import json
import tracemalloc

import numpy as np
import pytest
import shapely
from outline_files import feature, read_all, square, write

from holohisto.annotation import json_text
from holohisto.annotation.formats import Drawing
from holohisto.errors import HolohistoError
from holohisto.masks.geojson import geometry


def test_other_forms_of_geojson(tmp_path):
    shapes = [feature(square(10, 10, 5)), feature(square(30, 10, 5))]
    expected = read_all(write(tmp_path / "a.geojson", shapes))
    assert expected.sum() == 50
    texts = {
        "list": json.dumps(shapes),
        "pretty": json.dumps({"features": shapes, "n": 12}, indent=2),
        "lead": json.dumps({"crs": {"features": [1]}, "bbox": [1, 2], "features": shapes}),
        "one": json.dumps(feature(shapely.MultiPolygon([square(10, 10, 5), square(30, 10, 5)]))),
        "parts": json.dumps(
            [
                feature(
                    {
                        "type": "GeometryCollection",
                        "geometries": [geometry(square(10, 10, 5)), geometry(square(30, 10, 5))],
                    }
                )
            ]
        ),
        "bom": "\ufeff" + json.dumps(shapes),
    }
    for name, text in texts.items():
        path = tmp_path / f"{name}.geojson"
        path.write_text(text, encoding="utf-8")
        np.testing.assert_array_equal(read_all(path), expected, name)
    open_ring = {"type": "Polygon", "coordinates": [[[10, 10], [15, 10], [15, 15], [10, 15]]]}
    path = write(tmp_path / "open.geojson", [feature(open_ring)])
    assert read_all(path).sum() == 25


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_features_do_not_depend_on_where_the_file_is_cut_while_reading(
    tmp_path, monkeypatch, chunk
):
    shapes = [feature(square(i, 2 * i, 5.25), f"class {i}") for i in range(9)]
    path = write(tmp_path / "a.geojson", shapes, indent=1)
    monkeypatch.setattr(json_text, "CHUNK", chunk)
    found = list(Drawing(path).objects())
    assert [number for number, _ in found] == list(range(1, 10))
    assert [drawn.names for _, drawn in found] == [(f"class {i}",) for i in range(9)]
    rings = [[ring.tolist() for (ring,) in drawn.polygons()] for _, drawn in found]
    assert rings == [shape["geometry"]["coordinates"] for shape in shapes]


def test_a_large_file_is_read_piece_by_piece(tmp_path):
    ring = [[float(i), float(i % 7) + 0.125] for i in range(2000)]
    shape = json.dumps(feature({"type": "Polygon", "coordinates": [[*ring, ring[0]]]}))
    path = tmp_path / "a.geojson"
    with path.open("w") as file:
        file.write('{"features": [' + ", ".join([shape] * 600) + "]}")
    assert path.stat().st_size > 15e6
    tracemalloc.start()
    assert sum(1 for _ in Drawing(path).objects()) == 600
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12e6


RING = [[1, 1], [9, 1], [9, 9], [1, 1]]
BAD = {
    "cut": ('{"features": [{"type": "Fea', "no whole JSON: it ends early"),
    "unclosed": ('{"features": [', "no whole JSON: it ends early"),
    "text": ("hello", "no whole JSON: h where { should be"),
    "empty": ("", "no whole JSON: the end where"),
    "item": ("[3]", "object 1 of the GeoJSON makes no sense: it is no feature"),
    "more": ("[] []", "there is more after its end"),
    "short": (json.dumps([feature({"type": "Polygon", "coordinates": [[[1, 2]]]})]), "of object 1"),
    "nan": (
        json.dumps([feature({"type": "Polygon", "coordinates": [[[1, float("nan")], *RING]]})]),
        "of object 1 makes no sense",
    ),
    "words": (json.dumps([feature({"type": "Polygon", "coordinates": "abc"})]), "makes no sense"),
    "none": (json.dumps([feature({"type": "Polygon"})]), "makes no sense"),
    "far": (
        json.dumps([feature(square(500, 20, 9))]),
        r"1 of 1 outlines lie outside the slide \(found x 500 to 509, y 20 to 29; allowed 0 to 341",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_is_one_line(tmp_path, name):
    text, words = BAD[name]
    path = tmp_path / "a.geojson"
    path.write_text(text)
    with pytest.raises(HolohistoError, match=words) as caught:
        read_all(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_broken_archives_and_missing_files_are_one_line(tmp_path):
    path = write(tmp_path / "a.geojson.gz", [feature(square(1, 1, 9))] * 50)
    path.write_bytes(path.read_bytes()[:-30])
    for broken in (path, tmp_path / "none.geojson"):
        with pytest.raises(HolohistoError, match="annotation"):
            read_all(broken)
