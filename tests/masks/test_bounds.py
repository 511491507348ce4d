"""Slides whose level 0 is larger than the scanned part, from whose corner QuPath counts."""

import json

import numpy as np
import pytest
import tifffile
from labelled_slide import LabelledSlide
from mask_verb import run_mask
from outline_files import feature, features_of, square, write
from PIL import Image
from slide_files import tissue
from vendor_files import write_scn

from holohisto.annotation import Annotation
from holohisto.config.sections import CheckOptions, ClassOptions
from holohisto.errors import HolohistoError
from holohisto.slide import Slide
from holohisto.slide.bounds import Bounds
from holohisto.slide.record import SlideRecord, inspect
from holohisto.slide.scale import Scale

PLANE, PART, CORNER = (1411, 1007), (717, 523), (305, 203)
ONE = {"glomerulus": ClassOptions()}


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "slide.scn"
    write_scn(path, tissue(PART, (100, 80, 500, 400)), CORNER, PLANE)
    return path


def discs():
    """Two discs in the scanned part, (height, width) bool."""
    y, x = np.indices(PART[::-1])
    return ((x - 200) ** 2 + (y - 150) ** 2 < 50**2) | ((x - 420) ** 2 + (y - 300) ** 2 < 71**2)


def on_plane(part, factor=1):
    plane = np.zeros(PLANE[::-1], part.dtype)
    plane[CORNER[1] : CORNER[1] + PART[1], CORNER[0] : CORNER[0] + PART[0]] = part
    return plane[::factor, ::factor]


def read_all(path, factor=1, bounds=(*CORNER, *PART)):
    scale = Scale.whole(factor)
    with Annotation(path, ONE, PLANE, scale, bounds=Bounds(*bounds)) as annotation:
        return annotation.read((0, 0), scale.working_size(PLANE)) > 0


def test_the_scanned_part_is_in_the_record(image):
    record = inspect("s1", image, None, None, CheckOptions())
    assert (record.size, record.bounds) == (PLANE, (*CORNER, *PART))
    assert SlideRecord.model_validate(json.loads(record.model_dump_json())) == record
    with Slide(image) as slide:
        assert slide.bounds == (*CORNER, *PART)


def test_outlines_of_qupath_count_from_the_scanned_part(tmp_path):
    path = tmp_path / "a.geojson"
    write(path, features_of(discs()))
    np.testing.assert_array_equal(read_all(path), on_plane(discs()))


def test_outlines_that_count_from_the_plane_are_noticed(tmp_path, caplog):
    path = tmp_path / "a.geojson"
    write(path, features_of(on_plane(discs())))
    np.testing.assert_array_equal(read_all(path), on_plane(discs()))
    assert "count from the corner of level 0" in caplog.text


@pytest.mark.parametrize("suffix", [".tif", ".png"])
@pytest.mark.parametrize("part", ["plane", "scanned"])
def test_masks_of_either_size_are_understood(tmp_path, image, part, suffix):
    mask = (on_plane(discs()) if part == "plane" else discs()).astype(np.uint8) * 255
    path = tmp_path / f"mask{suffix}"
    if suffix == ".png":
        Image.fromarray(mask).save(path)
    else:
        tifffile.imwrite(path, mask, metadata=None)
    np.testing.assert_array_equal(read_all(path), on_plane(discs()))
    record = inspect("s1", image, path, None, CheckOptions())
    fits = {"plane": "level 0", "scanned": "scanned part, level 0"}[part]
    assert record.annotation == {"size": list(mask.shape[::-1]), "fits": fits}


def test_masks_of_the_scanned_part_at_working_size_lie_in_place(tmp_path):
    path = tmp_path / "mask.tif"
    tifffile.imwrite(path, discs()[::2, ::2].astype(np.uint8), metadata=None)
    read, wanted = read_all(path, 2), on_plane(discs(), 2)
    assert 2 * (read & wanted).sum() / (read.sum() + wanted.sum()) > 0.98


def test_another_size_is_refused_with_all_that_fit(tmp_path, image):
    path = tmp_path / "mask.tif"
    tifffile.imwrite(path, np.zeros((522, 717), np.uint8), metadata=None)
    with pytest.raises(HolohistoError, match=r"1411x1007 \(level 0\).*717x523 \(scanned part\)"):
        inspect("s1", image, path, None, CheckOptions())


def test_delivered_outlines_count_from_the_scanned_part_and_masks_from_the_plane(tmp_path, image):
    slide = LabelledSlide(tmp_path, PLANE, 1, 0.5, given=image)
    slide.write_labels(on_plane(discs()).astype(np.uint8), ["glomerulus"])
    assert run_mask(slide, {"glomerulus": {}}, simplify_um=0, min_object_um2=0) == 0
    mask = tifffile.imread(tmp_path / "out" / "m1" / "s1_glomerulus.tif") > 0
    np.testing.assert_array_equal(mask, on_plane(discs()))
    delivered = tmp_path / "out" / "s1.geojson"
    points = json.loads(delivered.read_text())["features"][0]["geometry"]["coordinates"][0]
    assert np.min(points, axis=0).tolist() == [151, 101]
    np.testing.assert_array_equal(read_all(delivered), on_plane(discs()))


def test_a_square_at_the_border_stays_with_the_scanned_part(tmp_path):
    path = tmp_path / "a.geojson"
    write(path, [feature(square(PART[0] - 30, 10, 40))])
    read = read_all(path)
    assert read.sum() == 30 * 40
    assert read[CORNER[1] + 10, CORNER[0] + PART[0] - 30]
