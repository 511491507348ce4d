"""Hostile outlines: many crossings of rows are rasterised in bounded memory."""

import gzip
import json
import time
import tracemalloc

import numpy as np
import pytest
from outline_files import ONE, feature, read_all, write

from holohisto.annotation import Annotation, outlines, scanlines
from holohisto.errors import HolohistoError
from holohisto.slide.scale import Scale

SIZE = (341, 267)


def zigzag(count):
    """A ring whose every edge crosses all rows of the slide."""
    return [[i * SIZE[0] / count, (i % 2) * SIZE[1]] for i in range(count)]


def test_bands_of_rows_give_the_same_pixels(tmp_path, monkeypatch):
    path = write(
        tmp_path / "a.geojson", [feature({"type": "Polygon", "coordinates": [zigzag(201)]})]
    )
    whole = read_all(path)
    assert 0.3 < whole.mean() < 0.7
    for limit in (1, 300, 5000):
        monkeypatch.setattr(scanlines, "MOST_CROSSINGS", limit)
        monkeypatch.setattr(scanlines, "MOST_PIXELS", 50 * limit)
        np.testing.assert_array_equal(read_all(path), whole)


def test_memory_is_bounded(tmp_path):
    """20,000 edges cross 267 rows each: 5 million crossings, 0.5 GB at once."""
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps([feature({"type": "Polygon", "coordinates": [zigzag(20_000)]})]))
    with Annotation(path, ONE, SIZE, Scale.whole(1)) as annotation:
        tracemalloc.start()
        annotation.read((0, 0), SIZE)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 150e6


@pytest.mark.parametrize("count", [300, 40_000])
def test_any_number_of_objects_may_lie_on_one_another(tmp_path, count):
    corners = [[10, 20], [30, 20], [30, 40], [10, 40], [10, 20]]
    squares = feature({"type": "MultiPolygon", "coordinates": [[corners]] * count})
    found = read_all(write(tmp_path / "a.geojson", [squares]))
    assert found.sum() == found[20:40, 10:30].sum() == 400


@pytest.mark.parametrize("limit", [outlines.FEW_CROSSINGS, outlines.MOST_CROSSINGS])
def test_outlines_that_would_take_hours_to_fill_are_refused_at_once(tmp_path, monkeypatch, limit):
    """70,000 edges cross 267 rows each, in one outline; or 20,000 do, where fewer are allowed."""
    count = 70_000
    if limit == outlines.MOST_CROSSINGS:
        count = 20_000
        monkeypatch.setattr(outlines, "MOST_CROSSINGS", 5_000_000)
    drawn = [feature({"type": "Polygon", "coordinates": [zigzag(count)]})]
    path = write(tmp_path / "a.geojson", drawn)
    start = time.monotonic()
    with pytest.raises(HolohistoError, match="cross the rows of pixels too often") as caught:
        Annotation(path, ONE, SIZE, Scale.whole(1))
    assert time.monotonic() - start < 20
    assert f"found {count * SIZE[1]} times by one around x 0, y 0" in str(caught.value)


BLANKS = b" " * 2**25
LONG = {
    "a.geojson.gz": (b'{"features": [' + BLANKS + b"]}", ""),
    "text.xml": (b"<ASAP_Annotations>" + BLANKS + b"</ASAP_Annotations>", ""),
    "tag.xml": (b'<ASAP_Annotations Name="' + BLANKS + b'"/>', "more than 2097152 bytes"),
    "comment.xml": (b"<ASAP_Annotations><!--" + BLANKS + b"-->", "more than 2097152 bytes"),
}


@pytest.mark.parametrize("name", LONG)
def test_long_blanks_and_tags_are_not_parsed_again_and_again(tmp_path, name):
    content, problem = LONG[name]
    path = tmp_path / name
    path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)
    start = time.monotonic()
    if problem:
        with pytest.raises(HolohistoError, match=problem):
            read_all(path)
    else:
        assert not read_all(path).any()
    assert time.monotonic() - start < 20
