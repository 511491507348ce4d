"""Corrected files against delivered ones: objects kept, changed, added and deleted."""

import json

import numpy as np
import pytest
from corrected_outlines import changed, drawn, exported, features_of, without_ids, write_features
from labelled_slide import LabelledSlide
from mask_verb import CLASSES, draw, run_mask

from holohisto.annotation.corrections import compare
from holohisto.annotation.delivered import CLASS, MODEL, OBJECTS, OUTLINE, SLIDE, OutlineFingerprint
from holohisto.errors import HolohistoError

NAMES = tuple(CLASSES)


@pytest.fixture(params=[((301, 1237), 1, 0.5), ((467, 2239), 2, 0.251), ((1003, 4127), None, 0.15)])
def delivered(request, tmp_path):
    """Nine tufts and two capsules, on slides whose scale is 1, 2 and no whole number."""
    size, factor, mpp = request.param
    working = None if factor else 0.5
    slide = LabelledSlide(tmp_path, size, factor or 1, mpp, working=working)
    labels = draw(slide)
    y, x = np.indices(labels.shape)
    for n in range(7):
        labels[(x - 100) ** 2 + (y - 640 - 55 * n) ** 2 < (12 + n) ** 2] = 1
    slide.write_labels(labels, CLASSES)
    options = {"min_object_um2": 5, "max_hole_um2": 3, "simplify_um": 0.2}
    assert run_mask(slide, CLASSES, **options) == 0
    return tmp_path / "out" / "s1.geojson"


def split(path):
    features = features_of(path)
    tufts = [f for f in features if f["properties"]["classification"]["name"] == "tuft"]
    return tufts, [f for f in features if f not in tufts]


def counts(found):
    return {
        name: (own.kept, own.changed, own.added, own.deleted) for name, own in found.classes.items()
    }


def corrected(path):
    """Two deleted, one grown, one drawn; one capsule becomes a tuft; all in another order."""
    tufts, capsules = split(path)
    assert (len(tufts), len(capsules)) == (9, 2)
    renamed = {**capsules[0]["properties"], "classification": {"name": "tuft"}}
    features = [exported(f) for f in (*tufts[6:], *tufts[2:5])] + [changed(tufts[5])]
    features += [drawn("Tuft", 200, 600), exported(capsules[1])]
    features += [exported({**capsules[0], "properties": renamed})]
    return features[::-1]


EXPECTED = {"tuft": (6, 1, 2, 2), "capsule": (1, 0, 0, 1), "vessel": (0, 0, 0, 0)}


def test_a_corrected_file_alone_shows_what_was_corrected(delivered, tmp_path):
    path = write_features(tmp_path / "corrected.geojson", corrected(delivered))
    found = compare(path, NAMES)
    assert counts(found) == EXPECTED
    grown = found.classes["tuft"]
    assert grown.area_after > 1.1 * grown.area_before > 0
    assert grown.overlaps == []
    assert found.models == ("m1",)
    record = json.loads((tmp_path / "check.json").read_text())
    assert found.slides == (record["fingerprint"][:16],)


@pytest.mark.parametrize("lost", [False, True])
def test_two_files_are_compared_with_or_without_ids(delivered, tmp_path, lost):
    features = corrected(delivered)
    features = without_ids(features) if lost else features
    path = write_features(tmp_path / "corrected.geojson", features)
    found = compare(path, NAMES, delivered)
    assert counts(found) == EXPECTED
    grown = found.classes["tuft"]
    assert grown.delivered == 9
    assert 0.1 < grown.overlaps[0] < 0.99
    assert grown.overlaps[0] == pytest.approx(grown.area_before / grown.area_after, rel=0.01)


def test_an_untouched_export_keeps_everything(delivered, tmp_path):
    features = [exported(feature) for feature in features_of(delivered)]
    path = write_features(tmp_path / "corrected.geojson", features[::-1])
    expected = {"tuft": (9, 0, 0, 0), "capsule": (2, 0, 0, 0), "vessel": (0, 0, 0, 0)}
    assert counts(compare(path, NAMES)) == expected
    assert counts(compare(path, NAMES, delivered)) == expected


def test_copies_count_as_added_and_a_class_without_objects_as_deleted(delivered, tmp_path):
    tufts, _ = split(delivered)
    copy = {**exported(tufts[0], shift=40), "id": "9b8b6f5c-0000-4000-8000-000000000001"}
    path = write_features(tmp_path / "corrected.geojson", [exported(tufts[0]), copy])
    expected = {"tuft": (1, 0, 1, 8), "capsule": (0, 0, 0, 2), "vessel": (0, 0, 0, 0)}
    assert counts(compare(path, NAMES)) == expected
    assert counts(compare(path, NAMES, delivered)) == expected


def test_an_object_with_its_id_is_the_same_wherever_it_was_moved(delivered, tmp_path):
    tufts, _ = split(delivered)
    path = write_features(tmp_path / "corrected.geojson", [exported(tufts[0], shift=500)])
    assert counts(compare(path, NAMES, delivered))["tuft"] == (0, 1, 0, 8)
    path = write_features(path, without_ids([exported(tufts[0], shift=500)]))
    assert counts(compare(path, NAMES, delivered))["tuft"] == (0, 0, 1, 9)


def test_outlines_drawn_from_scratch_are_no_correction(tmp_path):
    path = write_features(tmp_path / "drawn.geojson", [drawn("tuft", 10, 10)])
    assert compare(path, NAMES) is None


def test_senseless_outlines_are_an_error_of_one_line(tmp_path):
    feature = drawn("tuft", 10, 10)
    feature["geometry"]["coordinates"] = [[["a", 1], [2, 3], [4, 5]]]
    path = write_features(tmp_path / "drawn.geojson", [feature])
    with pytest.raises(HolohistoError, match="geometry of object 1 makes no sense"):
        compare(path, NAMES)


@pytest.mark.parametrize(
    "carried",
    [
        {},
        {OUTLINE: "x", CLASS: "tuft"},
        {OUTLINE: "1 2 3", CLASS: "tuft"},
        {OUTLINE: "nan " * 4, CLASS: "tuft"},
    ],
)
def test_unreadable_metadata_make_an_object_an_added_one(tmp_path, carried):
    feature = drawn("tuft", 10, 10)
    feature["properties"]["metadata"] = {
        SLIDE: "ab",
        MODEL: 3,
        OBJECTS: "tuft, vessel x",
        **carried,
    }
    path = write_features(tmp_path / "drawn.geojson", [feature])
    assert counts(compare(path, NAMES))["tuft"] == (0, 0, 1, 0)


def test_ids_are_stable_and_depend_on_slide_model_class_and_outline(tmp_path):
    ids = []
    for seed, model in ((0, "m1"), (0, "m1"), (1, "m1"), (0, "m2")):
        folder = tmp_path / f"{len(ids)}"
        folder.mkdir()
        slide = LabelledSlide(folder, (301 + 2 * seed, 1237), 1, 0.5)
        slide.header = lambda names, s=slide, m=model: LabelledSlide.header(s, names) | {"model": m}
        slide.write_labels(draw(slide), CLASSES)
        assert run_mask(slide, CLASSES) == 0
        ids.append({feature["id"] for feature in features_of(folder / "out" / "s1.geojson")})
    assert ids[0] == ids[1]
    assert not ids[0] & ids[2]
    assert not ids[0] & ids[3]


def test_the_fingerprint_of_an_outline_survives_as_text():
    outline = OutlineFingerprint(12345678.0, 0.1, 131072.33, -4.25)
    assert OutlineFingerprint.parse(str(outline)) == outline
