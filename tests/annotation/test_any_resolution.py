"""Annotations of slides of any resolution: read at level 0 and reduced by area."""

from fractions import Fraction

import numpy as np
import pytest
import shapely
import tifffile
from outline_files import ONE, TWO, blobs, feature, write

from holohisto.annotation import Annotation
from holohisto.slide.scale import Scale

SIZE = (341, 267)
SCALES = {
    "0.325": Scale(Fraction(20, 13), Fraction(20, 13)),
    "0.44": Scale(Fraction(25, 22), Fraction(25, 22)),
    "0.55": Scale(Fraction(10, 11), Fraction(10, 11)),
    "0.5 x 0.25": Scale(Fraction(1), Fraction(2)),
    "whole": Scale.whole(3),
}
by_scale = pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)


def half_covered(mask, scale):
    """Where at least half of a working pixel's area is covered, computed in exact integers."""

    def weights(step, count, length):
        p, q = step.numerator, step.denominator
        i, j = np.arange(count)[:, None], np.arange(length)
        return np.maximum(0, np.minimum((i + 1) * p, (j + 1) * q) - np.maximum(i * p, j * q))

    width, height = scale.working_size(SIZE)
    down, across = weights(scale.y, height, SIZE[1]), weights(scale.x, width, SIZE[0])
    return 2 * (down @ mask.astype(np.int64) @ across.T) >= scale.x.numerator * scale.y.numerator


@by_scale
def test_a_working_pixel_has_the_classes_of_half_its_area(tmp_path, scale):
    masks = [blobs(SIZE, 3, seed) for seed in (0, 1)]
    values = np.where(masks[0], 1, masks[1] * 2).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", values, tile=(128, 128), compression="lzw")
    size = scale.working_size(SIZE)
    with Annotation(tmp_path / "a.tif", TWO, SIZE, scale) as annotation:
        found = annotation.read((0, 0), size)
        part = annotation.read((-3, 40), (60, 90))
    for bit, mask in enumerate((values == 1, values == 2)):
        np.testing.assert_array_equal(found >> bit & 1, half_covered(mask, scale))
    assert (part[:, :3] == 0).all()
    inside = found[40:130, :57]
    np.testing.assert_array_equal(part[: len(inside), 3:], inside)


@by_scale
def test_tiles_of_any_size_at_any_place_have_the_same_classes(tmp_path, scale, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", blobs(SIZE, 2).astype(np.uint8) * 255)
    random, (width, height) = np.random.default_rng(0), scale.working_size(SIZE)
    with Annotation(tmp_path / "a.tif", ONE, SIZE, scale) as annotation:
        whole = annotation.read((0, 0), (width, height))
        monkeypatch.setattr("holohisto.annotation.reader.SOURCE_PIXELS", 5000)
        for _ in range(40):
            x, y = (int(random.integers(0, side)) for side in (width, height))
            size = int(random.integers(1, width - x + 1)), int(random.integers(1, height - y + 1))
            expected = whole[y : y + size[1], x : x + size[0]]
            np.testing.assert_array_equal(annotation.read((x, y), size), expected)


@by_scale
def test_outlines_keep_their_area_in_micrometres(tmp_path, scale):
    box = shapely.box(41, 53, 41 + 180, 53 + 140)
    write(tmp_path / "a.geojson", [feature(box)])
    with Annotation(tmp_path / "a.geojson", ONE, SIZE, scale) as annotation:
        found = annotation.read((0, 0), scale.working_size(SIZE))
    area = found.sum() * float(scale.x * scale.y)
    assert area == pytest.approx(180 * 140, rel=0.03)
    rows, columns = np.nonzero(found)
    assert columns.min() * float(scale.x) == pytest.approx(41, abs=float(scale.x))
    assert rows.min() * float(scale.y) == pytest.approx(53, abs=float(scale.y))


@by_scale
def test_an_annotation_at_working_resolution_is_taken_as_it_is(tmp_path, scale):
    size = scale.working_size(SIZE)
    mask = blobs(size, 3)
    tifffile.imwrite(tmp_path / "a.tif", mask.astype(np.uint8) * 255)
    with Annotation(tmp_path / "a.tif", ONE, SIZE, scale) as annotation:
        np.testing.assert_array_equal(annotation.read((0, 0), size), mask)
