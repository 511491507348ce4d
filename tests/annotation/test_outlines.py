"""GeoJSON as annotation: the way back from QuPath."""

import gzip
import json
import tracemalloc

import numpy as np
import pytest
import shapely
from labelled_slide import LabelledSlide
from scipy import ndimage

from holohisto import cli
from holohisto.annotation import Annotation, geojson
from holohisto.config.sections import ClassOptions
from holohisto.errors import HolohistoError
from holohisto.masks import outlines
from holohisto.masks import runs as rle
from holohisto.masks.geojson import geometry
from holohisto.runtime.arithmetic import ceil_div

SIZE = (341, 267)
ONE = {"glomerulus": ClassOptions()}
TWO = {"capsule": ClassOptions(), "tuft": ClassOptions()}


def feature(shape, classification="glomerulus", **properties):
    if isinstance(classification, str):
        classification = {"name": classification, "color": [1, 2, 3]}
    properties = {"objectType": "annotation", "classification": classification, **properties}
    shape = geometry(shape) if isinstance(shape, shapely.Geometry) else shape
    return {"type": "Feature", "id": "x", "geometry": shape, "properties": properties}


def write(path, features, **options):
    text = json.dumps({"type": "FeatureCollection", "features": features}, **options)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def read_all(path, classes=ONE, size=SIZE, factor=1, annotated=None):
    with Annotation(path, classes, size, factor, annotated) as annotation:
        return annotation.read((0, 0), (ceil_div(size[0], factor), ceil_div(size[1], factor)))


def blobs(size, sigma, seed=0):
    noise = np.random.default_rng(seed).random((size[1], size[0]))
    return ndimage.gaussian_filter(noise, sigma) > 0.5


def features_of(mask, name="glomerulus"):
    runs = rle.find(mask)
    _, polygons = outlines.trace(runs, rle.label(runs, diagonal=True)[1])
    return [feature(polygon, name) for polygon in polygons]


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
    with Annotation(path, ONE, SIZE, 1) as annotation:
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


def square(x, y, side):
    return shapely.box(x, y, x + side, y + side)


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
    assert "left out: Tissue (2), without class (1); looked for: capsule, tuft" in caplog.text
    # only the capsule is drawn here: what has no class is one
    found = read_all(path, TWO, annotated=("capsule",))
    assert (found.sum(), found[50, 90]) == (25, 1)


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
    shapes = [feature(square(i, 2 * i, 5.25)) for i in range(9)]
    path = write(tmp_path / "a.geojson", shapes, indent=1)
    monkeypatch.setattr(geojson, "CHUNK", chunk)
    assert list(geojson.features(path)) == shapes


def test_a_large_file_is_read_piece_by_piece(tmp_path):
    ring = [[float(i), float(i % 7) + 0.125] for i in range(2000)]
    shape = json.dumps(feature({"type": "Polygon", "coordinates": [[*ring, ring[0]]]}))
    path = tmp_path / "a.geojson"
    with path.open("w") as file:
        file.write('{"features": [' + ", ".join([shape] * 600) + "]}")
    assert path.stat().st_size > 15e6
    tracemalloc.start()
    assert sum(1 for _ in geojson.features(path)) == 600
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12e6


RING = [[1, 1], [9, 1], [9, 9], [1, 1]]
BAD = {
    "cut": ('{"features": [{"type": "Fea', "no whole GeoJSON: it ends early"),
    "unclosed": ('{"features": [', "no whole GeoJSON: it ends early"),
    "text": ("hello", "no whole GeoJSON: h where { should be"),
    "empty": ("", "no whole GeoJSON: the end where"),
    "item": ("[3]", "item 1 is no feature"),
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
        r"lie outside of the slide \(found x 500 to 509, y 20 to 29; allowed 0 to 341",
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


def test_an_annotation_without_objects_is_empty(tmp_path):
    with Annotation(write(tmp_path / "a.geojson", []), ONE, SIZE, 1) as annotation:
        assert annotation.is_empty()
        assert annotation.read((0, 0), (9, 4)).tolist() == [[0] * 9] * 4


CLASSES = {"tuft": {"values": [1, 3]}, "capsule": {"values": [2, 3]}}


def exported(slide: LabelledSlide, labels, **options) -> tuple[np.ndarray, np.ndarray]:
    """Delivered masks and the labels that come back from the GeoJSON, both at working size."""
    slide.write_labels(labels, CLASSES)
    code = cli.main(
        [
            "mask",
            str(slide.labels),
            "--image",
            str(slide.image),
            "--record",
            str(slide.check),
            "--probability",
            str(slide.probability),
            "--options",
            json.dumps(options),
            "--classes",
            json.dumps(CLASSES),
            "--masks",
            str(slide.folder / "{class}.tif"),
            "--geojson",
            str(slide.folder / "out.geojson"),
            "--overlay",
            str(slide.folder / "o.jpg"),
        ]
    )
    assert code == 0
    delivered = np.zeros_like(labels)
    for bit, name in enumerate(CLASSES):
        masks = read_all(slide.folder / f"{name}.tif", ONE, slide.size, slide.factor)
        delivered |= masks << bit
    classes = {name: ClassOptions() for name in CLASSES}
    return delivered, read_all(slide.folder / "out.geojson", classes, slide.size, slide.factor)


def glomeruli(size, seed):
    """Smooth objects of both classes, some 50 to 100 pixels wide."""
    return blobs(size, 14, seed).astype(np.uint8) | blobs(size, 18, seed + 1).astype(np.uint8) << 1


@pytest.mark.parametrize(
    ("size", "factor"), [((1203, 1611), 2), ((1501, 1130), 1), ((2410, 2807), 4)]
)
def test_a_mask_exported_and_imported_gives_the_same_labels(tmp_path, size, factor):
    slide = LabelledSlide(tmp_path, size, factor, 0.5 / factor)
    labels = glomeruli(slide.working_size, factor)
    delivered, back = exported(slide, labels)
    for bit in (0, 1):
        one, other = (array >> bit & 1 for array in (delivered, back))
        assert 0.2 < one.mean() < 0.8
        assert (one & other).sum() / (one | other).sum() >= 0.999
    delivered, back = exported(slide, labels, simplify_um=0)
    np.testing.assert_array_equal(back, delivered)


def test_outlines_are_an_annotation_to_score_against(tmp_path):
    slide = LabelledSlide(tmp_path, (603, 811), 1, 0.5)
    delivered, back = exported(slide, glomeruli(slide.size, 5), simplify_um=0, min_object_um2=0)
    np.testing.assert_array_equal(back, delivered)
    slide.write_foreground(np.ones((51, 38), bool))
    code = cli.main(
        [
            "metrics",
            str(slide.labels),
            "--record",
            str(slide.check),
            "--annotation",
            str(tmp_path / "out.geojson"),
            "--foreground",
            str(slide.foreground),
            "--probability",
            str(slide.probability),
            "--mask-options",
            '{"min_object_um2": 0}',
            "--classes",
            json.dumps(CLASSES),
            "--output",
            str(tmp_path / "scores.json"),
        ]
    )
    assert code == 0
    scores = json.loads((tmp_path / "scores.json").read_text())["classes"]
    assert [scores[name]["everywhere"]["dice"] for name in CLASSES] == [1.0, 1.0]


def test_check_takes_outlines(tmp_path):
    slide = LabelledSlide(tmp_path, (301, 237), 1, 0.5)
    write(tmp_path / "a.geojson", [feature(square(10, 10, 50))])
    words = [
        "check",
        str(slide.image),
        "--slide",
        "s1",
        "--options",
        '{"mpp": 0.5}',
        "--classes",
        '{"glomerulus": {}}',
        "--output",
        str(tmp_path / "c.json"),
    ]
    assert cli.main([*words, "--annotation", str(tmp_path / "a.geojson")]) == 0
    record = json.loads((tmp_path / "c.json").read_text())
    assert record["annotation"] == {"size": [301, 237], "fits": "level 0"}
    assert record["warnings"] == []
    write(tmp_path / "b.geojson", [feature(square(10, 10, 50), "other")])
    assert cli.main([*words, "--annotation", str(tmp_path / "b.geojson")]) == 0
    assert (
        "shows none of the classes" in json.loads((tmp_path / "c.json").read_text())["warnings"][0]
    )
