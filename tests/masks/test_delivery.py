"""Cleaning, outlines, mask pyramids and GeoJSON."""

import gzip
import json
from itertools import chain

import jsonschema
import numpy as np
import openslide
import pytest
import shapely
import tifffile
from labelled_slide import LabelledSlide, masks_and_scores
from objects import bands_of, delivered
from PIL import Image
from scipy import ndimage

from holohisto import cli
from holohisto.annotation import Annotation
from holohisto.config.sections import ClassOptions, MaskOptions
from holohisto.errors import HolohistoError
from holohisto.masks import cleaning, delivery, outlines, overlay
from holohisto.masks import runs as rle
from holohisto.masks.cleaning import Probability
from holohisto.masks.frame import Frame
from holohisto.pyramid.raster import Raster
from holohisto.runtime.arithmetic import ceil_div

SQUARE = np.ones((3, 3))


def cleaned_slowly(
    mask: np.ndarray,
    min_pixels: int,
    max_hole: int,
    chances: np.ndarray | None = None,
    likely: float = 0.0,
) -> np.ndarray:
    """The rule in words: fill holes below the limit, then drop objects too small or unlikely."""
    mask = mask.copy()
    holes, count = ndimage.label(~mask)
    border = set(np.concatenate([holes[0], holes[-1], holes[:, 0], holes[:, -1]]).tolist())
    for k in range(1, count + 1):
        if k not in border and (holes == k).sum() < max_hole:
            mask |= holes == k
    objects, count = ndimage.label(mask, SQUARE)
    for k in range(1, count + 1):
        one = objects == k
        if one.sum() < min_pixels or (likely and chances[one].mean() < 255 * likely):
            mask &= ~one
    return mask


def random_masks(count: int):
    rng = np.random.default_rng(7)
    for trial in range(count):
        height, width = rng.integers(1, 48, 2)
        mask = rng.random((height, width)) < rng.random()
        yield ndimage.uniform_filter(mask.astype(float), 3) > 0.5 if trial % 2 else mask


@pytest.mark.parametrize("band", [1, 3, 8, 64])
def test_cleaning_and_outlines_equal_brute_force_for_any_band_height(monkeypatch, band):
    monkeypatch.setattr(cleaning, "BAND", band)
    rng = np.random.default_rng(band)
    for mask in random_masks(40):
        low, high = rng.integers(0, 20, 2).tolist()
        likely = rng.choice([0.0, 0.5])
        coarse = rng.integers(0, 256, mask.shape).astype(np.uint8)
        chances = Probability(
            lambda coarse=coarse: (coarse[y : y + band] for y in range(0, len(coarse), band)), 1
        )
        bands = bands_of(mask.astype(np.uint8) << 2)
        options = MaskOptions(
            min_object_um2=low * 4.0, max_hole_um2=high * 4.0, min_probability={"c": likely}
        )
        objects = cleaning.find(bands, [2], 4.0, options, chances, "abc")[2]
        number, polygons = delivered(objects, bands)
        expected = cleaned_slowly(mask, low, high, coarse, likely)
        assert np.array_equal(number >= 0, expected)
        assert len(objects.table) == ndimage.label(expected, SQUARE)[1] == len(polygons)
        for k, polygon in polygons.items():
            y, x = np.nonzero(number == k)
            assert len(x) == objects.table.area[k] == polygon.area
            assert polygon.is_valid
            assert ndimage.label(number == k, SQUARE)[1] == 1
            assert objects.table.box[k].tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]
            assert objects.table.centre[k] == pytest.approx([x.mean() + 0.5, y.mean() + 0.5])
            assert objects.table.probability[k] == pytest.approx(coarse[y, x].mean() / 255)


def test_outlines_cover_exactly_the_pixels():
    for mask in random_masks(30):
        runs = rle.find(mask)
        _, number = rle.label(runs, diagonal=True)
        _, polygons = outlines.trace(runs, number)
        y, x = np.indices(mask.shape)
        points = shapely.points(x + 0.5, y + 0.5)
        inside = np.zeros(mask.shape, bool)
        for polygon in polygons:
            inside |= shapely.contains(polygon, points)
        assert np.array_equal(inside, mask)


@pytest.mark.parametrize("tolerance", [0.0, 0.3, 1.0, 5.0])
def test_thinned_outlines_stay_valid_and_keep_their_area_about(tolerance):
    for mask in random_masks(40):
        runs = rle.find(mask)
        _, number = rle.label(runs, diagonal=True)
        _, polygons = outlines.trace(runs, number)
        thinned = outlines.thin(polygons, tolerance)
        assert shapely.is_valid(thinned).all()
        assert not shapely.is_empty(thinned).any()
        moved = shapely.area(shapely.symmetric_difference(polygons, thinned))
        assert (moved <= tolerance * shapely.length(polygons)).all()


def test_runs_paint_merge_and_complement_are_inverse():
    for mask in random_masks(30):
        height, width = mask.shape
        runs = rle.find(mask, 5)
        rows = (5, 5 + height)
        assert np.array_equal(rle.paint(runs, rows, width), mask)
        free = rle.complement(runs, rows, width)
        assert np.array_equal(rle.paint(free, rows, width), ~mask)
        assert rle.merge(runs, free).length.tolist() == [width] * height


def test_sums_over_a_coarse_map():
    rng = np.random.default_rng(3)
    mask = rng.random((23, 37)) < 0.4
    coarse = rng.integers(0, 256, (6, 10)).astype(np.uint8)
    fine = np.kron(coarse, np.ones((4, 4), int))[:23, :37]
    runs = rle.find(mask, 8)
    expected = [fine[y - 8, a:b].sum() for y, a, b in zip(runs.y, runs.start, runs.end)]  # noqa: B905
    assert rle.sums(runs, coarse, 8, 4).tolist() == expected


def test_two_corners_that_touch_are_one_object_of_two_parts():
    mask = np.zeros((5, 7), bool)
    mask[1, 1] = mask[2, 2] = True
    runs = rle.find(mask)
    count, number = rle.label(runs, diagonal=True)
    _, polygons = outlines.trace(runs, number)
    assert count == 1
    assert polygons[0].geom_type == "MultiPolygon"
    assert polygons[0].area == 2


# The whole verb


def draw(slide: LabelledSlide) -> np.ndarray:
    """Labels with a ring over a band border, a filled hole, a speck, and an edge object."""
    width, height = slide.working_size
    y, x = np.indices((height, width))
    labels = np.zeros((height, width), np.uint8)
    middle = (x - 60) ** 2 + (y - cleaning.BAND) ** 2
    labels[(middle < 45**2) & (middle > 15**2)] = 1  # a ring: its hole stays
    labels[20:40, 10:40] = 1
    labels[28:30, 20:23] = 0  # a small hole: filled
    labels[5:7, 5:7] = 1  # a speck: dropped
    labels[height - 30 :, width - 25 :] |= 2  # at the corner of the slide
    labels[30:60, 30:60] |= 2  # classes overlap
    return labels


def run_mask(slide: LabelledSlide, classes: dict, geojson="{slide}.geojson", **options) -> int:
    out = slide.folder / "out"
    return cli.main(
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
            json.dumps(classes),
            "--masks",
            str(out / "{model}/{slide}_{class}.tif"),
            "--geojson",
            str(out / geojson),
            "--overlay",
            str(out / "{slide}.jpg"),
            "--facts",
            str(out / "{slide}.json"),
            *(["--annotation", str(slide.annotation)] if slide.annotation.exists() else []),
        ]
    )


CLASSES = {"tuft": {"colour": "#ff8000"}, "capsule": {}, "vessel": {}}
CASES = [((301, 1237), 1, 0.5), ((467, 2239), 2, 0.251), ((831, 2407), 4, 0.13)]


@pytest.mark.parametrize(("size", "factor", "mpp"), CASES)
def test_masks_open_exactly_everywhere(tmp_path, size, factor, mpp):
    slide = LabelledSlide(tmp_path, size, factor, mpp)
    labels = draw(slide)
    slide.write_labels(labels, CLASSES)
    um2 = (mpp * factor) ** 2
    assert run_mask(slide, CLASSES, min_object_um2=10 * um2, max_hole_um2=10 * um2) == 0
    for bit, name in enumerate(CLASSES):
        working = cleaned_slowly((labels >> bit) & 1 != 0, 10, 10)
        expected = np.kron(working, np.full((factor, factor), 255, np.uint8))
        expected = expected[: size[1], : size[0]].astype(np.uint8)
        path = tmp_path / "out" / "m1" / f"s1_{name}.tif"
        assert expected.any() == (name != "vessel")
        _assert_opens(path, expected, mpp)
    assert sorted(p.name for p in (tmp_path / "out" / "m1").iterdir()) == [
        "s1_capsule.tif",
        "s1_tuft.tif",
        "s1_vessel.tif",
    ]


def _assert_opens(path, expected: np.ndarray, mpp: float) -> None:
    size = expected.shape[::-1]
    with tifffile.TiffFile(path) as tiff:
        assert np.array_equal(tiff.pages[0].asarray(), expected)
        assert tiff.is_bigtiff
        numerator, denominator = tiff.pages[0].tags["XResolution"].value
        assert 10_000 / (numerator / denominator) == pytest.approx(mpp, rel=1e-5)
    with openslide.OpenSlide(path) as mask:
        assert mask.dimensions == size
        assert float(mask.properties["openslide.mpp-x"]) == pytest.approx(mpp, rel=1e-5)
        grey = np.asarray(mask.read_region((0, 0), 0, size).convert("L"))
        assert np.array_equal(grey, expected)
    tiffslide = pytest.importorskip("tiffslide")
    with tiffslide.TiffSlide(path) as mask:
        assert mask.dimensions == size
        assert float(mask.properties["tiffslide.mpp-x"]) == pytest.approx(mpp, rel=1e-5)
        assert np.array_equal(mask.read_region((0, 0), 0, size, as_array=True).squeeze(), expected)
    cucim = pytest.importorskip("cucim")
    mask = cucim.CuImage(str(path))
    assert mask.size()[:2] == [*expected.shape]
    assert mask.spacing()[:2] == pytest.approx([mpp, mpp], rel=1e-5)
    region = np.asarray(mask.read_region((0, 0), size, 0))
    assert np.array_equal(region[..., 0], expected)


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


def test_overlay_shows_outlines_in_the_class_colour(tmp_path):
    slide = LabelledSlide(tmp_path, (301, 1237), 1, 0.5)
    labels = draw(slide)
    slide.write_labels(labels, CLASSES)
    slide.write_annotation((np.roll(labels & 1, 9, axis=1) * 1).astype(np.uint8))
    assert run_mask(slide, CLASSES, min_object_um2=3, overlay_side=1200) == 0
    with Image.open(tmp_path / "out" / "s1.jpg") as picture:
        pixels = np.asarray(picture).astype(int)
    orange = np.abs(pixels - [255, 128, 0]).max(axis=2) < 60
    assert orange.sum() > 100
    scale = 1237 / 1200
    left = int(10 / scale)  # edge of the rectangle, where no annotation is drawn
    assert orange[int(30 / scale), left - 2 : left + 3].any()
    assert not orange[int(50 / scale), : int(40 / scale)].any()


def colours(path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture).astype(int)


def near(pixels: np.ndarray, colour: list[int]) -> np.ndarray:
    return np.abs(pixels - colour).max(axis=2) < 60


def test_an_object_of_two_parts_is_drawn_and_delivered_whole(tmp_path):
    slide = LabelledSlide(tmp_path, (301, 237), 1, 0.5)
    labels = np.zeros((237, 301), np.uint8)
    labels[20:60, 20:60] = labels[60:110, 60:120] = 1  # they touch by a corner
    slide.write_labels(labels, CLASSES)
    slide.write_annotation(np.roll(labels, (100, 150), axis=(0, 1)))
    assert run_mask(slide, CLASSES, min_object_um2=2, simplify_um=1) == 0
    (feature,) = json.loads((tmp_path / "out" / "s1.geojson").read_text())["features"]
    assert feature["geometry"]["type"] == "MultiPolygon"
    outline = shapely.from_geojson(json.dumps(feature["geometry"]))
    assert outline.is_valid
    assert sorted(part.area for part in outline.geoms) == [40 * 40, 50 * 60]
    assert feature["properties"]["measurements"]["Area µm^2"] == (1600 + 3000) / 4
    pixels = colours(tmp_path / "out" / "s1.jpg")
    orange, dark = near(pixels, [255, 128, 0]), pixels.max(axis=2) < 120
    for x, y in ((20, 40), (40, 20), (120, 90), (90, 110)):
        assert orange[y - 2 : y + 3, x - 2 : x + 3].any()
        x, y = x + 150, y + 100
        assert dark[y - 8 : y + 9, x - 8 : x + 9].any()  # between the dashes


@pytest.mark.parametrize(
    ("size", "factor", "side", "expected"),
    [
        ((1301, 837), 1, 700, (700, 450)),  # between whole factors
        ((837, 1301), 1, 700, (450, 700)),
        ((1301, 837), 1, 1200, (1200, 772)),
        ((1301, 837), 1, 4000, (1301, 837)),  # never larger than the slide
        ((1301, 837), 2, 1200, (651, 419)),  # nor than its working size
    ],
)
def test_overlay_has_the_asked_for_side_and_its_legend_below(
    tmp_path, size, factor, side, expected
):
    slide = LabelledSlide(tmp_path, size, factor, 0.5)
    labels = np.zeros(slide.working_size[::-1], np.uint8)
    x, y = 600 // factor, 800 // factor
    labels[y - 200 // factor : y, x - 300 // factor : x] = 1
    slide.write_labels(labels, CLASSES)
    assert run_mask(slide, CLASSES, min_object_um2=3, overlay_side=side) == 0
    pixels = colours(tmp_path / "out" / "s1.jpg")
    width, height = expected
    assert pixels.shape[1] == width
    assert 10 < pixels.shape[0] - height < 80
    assert (pixels[height + 8 :, -width // 20 :] > 245).all()  # the legend's paper
    assert near(pixels[height:], [255, 128, 0]).any()
    orange = near(pixels[:height], [255, 128, 0])
    rows, columns = np.nonzero(orange)
    scale = max(size) / max(expected)
    assert columns.max() == pytest.approx(600 / scale, abs=3)
    assert columns.min() == pytest.approx(300 / scale, abs=3)
    assert rows.max() == pytest.approx(800 / scale, abs=3)


def test_legend_of_a_narrow_picture_is_not_cut():
    picture = np.full((300, 40, 3), 128, np.uint8)
    drawn = overlay.Overlay(picture, (80, 600))
    drawn.name("glomerulus: 12 objects", "#ff8000")
    drawn.name("annotation: 13 objects", None)
    pixels = np.asarray(drawn.draw())
    assert pixels.shape[1] > 150
    assert (pixels[:300, :40] == 128).all()
    assert (pixels[:300, 40:] == 255).all()
    assert (pixels[:, -5:] == 255).all()


def test_a_picture_is_reduced_without_its_sticking_out_border():
    picture = np.zeros((5, 11, 3), np.uint8)
    picture[:, 10] = 255  # 9 of its 10 level-0 columns lie outside
    small = overlay.fitted(picture, 10.0, (101, 50), 10)
    assert small.shape == (5, 10, 3)
    assert small[:, -1].max() < 64


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
"""What QuPath 0.5 writes and reads: GeoJSON with objectType, name, classification with colour, and
measurements as numbers by name."""


def test_outlines_are_of_qupaths_documented_form(tmp_path):
    slide = LabelledSlide(tmp_path, (301, 1237), 1, 0.5)
    labels = draw(slide)
    labels[700:740, 20:60] = labels[740:790, 60:120] = 1  # two parts that touch by a corner
    slide.write_labels(labels, CLASSES)
    assert run_mask(slide, CLASSES, min_object_um2=3, max_hole_um2=3) == 0
    found = json.loads((tmp_path / "out" / "s1.geojson").read_text())
    jsonschema.validate(found, QUPATH)
    kinds = {feature["geometry"]["type"] for feature in found["features"]}
    assert kinds == {"Polygon", "MultiPolygon"}
    for feature in found["features"]:
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
    with Annotation(packed, classes, slide.size, 1, tuple(CLASSES)) as annotation:
        assert not annotation.is_empty()


@pytest.mark.parametrize(("size", "factor", "mpp"), CASES)
def test_the_ome_tiff_is_the_same_mask(tmp_path, size, factor, mpp):
    slide = LabelledSlide(tmp_path, size, factor, mpp)
    slide.write_labels(draw(slide), CLASSES)
    assert run_mask(slide, CLASSES, min_object_um2=3, ome=True) == 0
    folder = tmp_path / "out" / "m1"
    with tifffile.TiffFile(folder / "s1_tuft.tif") as plain:
        expected = [page.asarray() for page in plain.pages]
    with tifffile.TiffFile(folder / "s1_tuft.ome.tif") as ome:
        assert ome.is_ome
        assert ome.series[0].axes == "YX"
        assert len(ome.pages) == 1  # the reduced levels are sub-IFDs
        found = [level.asarray() for level in ome.series[0].levels]
        pixels = tifffile.xml2dict(ome.ome_metadata)["OME"]["Image"]["Pixels"]
    assert len(found) == len(expected) > 1
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one, other)
    assert (pixels["PhysicalSizeX"], pixels["PhysicalSizeY"]) == pytest.approx((mpp, mpp))
    assert pixels["PhysicalSizeXUnit"] == "µm"


def test_objects_at_borders_of_tiles_are_counted(tmp_path):
    """Tiles of 128 x 512 without overlap on 301 x 1237: borders at x = 128, 173, 256, y = 512,
    729, 1024."""
    slide = LabelledSlide(tmp_path, (301, 1237), 1, 0.5)
    labels = np.zeros((1237, 301), np.uint8)
    labels[10:40, 100:127] = 1  # ends one pixel before a border
    labels[10:40, 131:150] = 1  # begins three after it
    labels[60:90, 100:128] = 1  # ends at it
    labels[100:140, 200:280] = 1  # crosses one
    labels[480:512, 20:60] = 1  # ends at a horizontal one
    labels[600:640, 20:60] = 2
    slide.write_labels(labels, CLASSES)
    assert run_mask(slide, CLASSES, min_object_um2=3) == 0
    unknown = json.loads((tmp_path / "out" / "s1.json").read_text())
    assert unknown["tuft"] == {"objects": 5, "at_borders": None}
    header = slide.header
    slide.header = lambda classes: (
        header(classes)
        | {
            "tile": [128, 512],
            "overlap": 0.0,
            "snap": 1,
        }
    )
    slide.write_labels(labels, CLASSES)
    assert run_mask(slide, CLASSES, min_object_um2=3) == 0
    assert json.loads((tmp_path / "out" / "s1.json").read_text()) == {
        "tuft": {"objects": 5, "at_borders": 3},
        "capsule": {"objects": 1, "at_borders": 0},
        "vessel": {"objects": 0, "at_borders": 0},
    }


def test_failed_verb_leaves_no_mask(tmp_path, monkeypatch, capsys):
    slide = LabelledSlide(tmp_path, (301, 1237), 1, 0.5)
    slide.write_labels(draw(slide), CLASSES)

    def stop(*_):
        raise HolohistoError("here", "stopped")

    monkeypatch.setattr("holohisto.masks.geojson.write", stop)
    assert run_mask(slide, CLASSES) == 2
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


def test_labels_of_another_slide_or_class_list_are_refused(tmp_path, capsys):
    slide = LabelledSlide(tmp_path, (301, 1237), 1, 0.5)
    slide.write_labels(draw(slide), CLASSES)
    assert run_mask(slide, {"tuft": {}}) == 2
    assert "labels have another classes" in capsys.readouterr().err


def test_witness_tells_a_wrong_mask(tmp_path):
    slide = LabelledSlide(tmp_path, (301, 1237), 1, 0.5)
    slide.write_labels(draw(slide), CLASSES)
    assert run_mask(slide, CLASSES, min_object_um2=3, max_hole_um2=3) == 0
    path = tmp_path / "out" / "m1" / "s1_tuft.tif"
    frame = Frame("s1", "m1", (301, 1237), 0.5, 1)
    witness = delivery.Witness(np.array([[2, 2], [290, 1200]]), slide.working_size)
    runs = rle.find(draw(slide) & 1 != 0)
    witness.see(runs, (0, 1237))
    with Raster(path) as mask, pytest.raises(HolohistoError, match="differs from the labels"):
        witness.compare(mask.read, path, frame)  # the hole and the speck are not in the mask


def test_objects_too_unlikely_are_left_out_of_all_results(tmp_path):
    slide = LabelledSlide(tmp_path, (463, 1237), 2, 0.25)
    labels = np.zeros(slide.working_size[::-1], np.uint8)
    labels[40:110, 30:90] = labels[480:560, 100:180] = 3
    probability = np.full([ceil_div(side, 4) for side in labels.shape], 250, np.uint8)
    probability[10:28] = 200  # mean 0.78 in the first object
    slide.write_labels(labels, ["tubule", "tuft"], probability)
    slide.write_foreground(np.ones([ceil_div(side, 16) for side in labels.shape], bool))
    slide.write_annotation(labels & 1)
    options = {"min_object_um2": 20, "min_probability": {"tubule": 0.8}}
    mask, scores = masks_and_scores(slide, ["tubule", "tuft"], options)
    assert mask.sum() == 160**2
    assert mask[960:1120, 200:360].all()
    assert scores["objects"] == {
        "tp": 1,
        "fp": 0,
        "fn": 1,
        "precision": 1.0,
        "recall": 0.5,
        "f1": pytest.approx(2 / 3),
    }
    assert scores["everywhere"]["fn"] == 70 * 60
    drawn = json.loads((tmp_path / "out" / "objects.geojson").read_text())["features"]
    names = [one["properties"]["classification"]["name"] for one in drawn]
    assert sorted(names) == ["tubule", "tuft", "tuft"]  # the other class keeps its own
