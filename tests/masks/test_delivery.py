"""Mask pyramids of the verb."""

import numpy as np
import openslide
import pytest
import tifffile
from labelled_slide import LabelledSlide
from mask_verb import CASES, CLASSES, draw, run_mask
from objects import cleaned_slowly

from holohisto.errors import HolohistoError
from holohisto.masks import delivery
from holohisto.masks import runs as rle
from holohisto.masks.frame import Frame
from holohisto.pyramid.raster import Raster
from holohisto.runtime.seal import read_sealed_json
from holohisto.slide.scale import Scale


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
        levels = [level.asarray() for level in ome.series[0].levels]
        pixels = tifffile.xml2dict(ome.ome_metadata)["OME"]["Image"]["Pixels"]
    assert len(levels) == len(expected) > 1
    for level, page in zip(levels, expected, strict=True):
        assert np.array_equal(level, page)
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
    unknown = read_sealed_json(tmp_path / "out" / "s1.json")
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
    assert read_sealed_json(tmp_path / "out" / "s1.json") == {
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


def test_witness_finds_a_wrong_mask(tmp_path):
    slide = LabelledSlide(tmp_path, (301, 1237), 1, 0.5)
    slide.write_labels(draw(slide), CLASSES)
    assert run_mask(slide, CLASSES, min_object_um2=3, max_hole_um2=3) == 0
    path = tmp_path / "out" / "m1" / "s1_tuft.tif"
    frame = Frame("s1", "m1", (301, 1237), (0.5, 0.5), Scale.whole(1))
    witness = delivery.Witness(np.array([[2, 2], [290, 1200]]), slide.working_size)
    runs = rle.find(draw(slide) & 1 != 0)
    witness.see(runs, (0, 1237))
    with Raster(path) as mask, pytest.raises(HolohistoError, match="differs from the labels"):
        witness.compare(mask.read, path, frame)  # the hole and the speck are not in the mask
