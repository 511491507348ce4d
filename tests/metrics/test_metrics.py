"""Counts, Dice, tiles and objects against brute force."""

import json

import numpy as np
import pytest
from labelled_slide import LabelledSlide
from scipy import ndimage

from holohisto import cli
from holohisto.annotation import Annotation
from holohisto.config.sections import ClassOptions
from holohisto.masks import cleaning
from holohisto.masks import runs as rle
from holohisto.metrics.counts import Tally, counts, dice
from holohisto.metrics.objects import match_objects, object_scores, overlaps
from holohisto.runtime.arithmetic import ceil_div

SQUARE = np.ones((3, 3))


def slow_dice(predicted, annotated) -> float:
    total = predicted.sum() + annotated.sum()
    return 2 * (predicted & annotated).sum() / total if total else 1.0


def test_dice_of_all_empty_cases():
    assert dice(0, 0, 0) == 1.0
    assert dice(0, 5, 0) == 0.0
    assert dice(0, 0, 5) == 0.0
    assert dice(3, 1, 1) == 0.75
    assert dice(np.int64(2**61), 0, 0) == 1.0  # no overflow


def test_counts_equal_brute_force():
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = rng.random((2, 13, 29)) < rng.random()
        assert counts(a, b).tolist() == [
            (a & b).sum(),
            (a & ~b).sum(),
            (~a & b).sum(),
        ]


def best_matching(iou: np.ndarray, limit: float) -> int:
    """Largest number of one-to-one pairs, tried exhaustively."""
    if not iou.size:
        return 0
    rest = best_matching(iou[1:], limit)
    for j in np.flatnonzero(iou[0] >= limit):
        rest = max(rest, 1 + best_matching(np.delete(iou[1:], j, axis=1), limit))
    return rest


@pytest.mark.parametrize("limit", [0.5, 0.7])
def test_object_matching_equals_exhaustive_search(limit):
    rng = np.random.default_rng(4)
    for trial in range(60):
        shape = rng.integers(2, 14, 2)
        a = rng.random(shape) < 0.5
        b = a ^ (rng.random(shape) < (0.25 if trial % 3 else 1.0))
        la, n = ndimage.label(a, SQUARE)
        lb, m = ndimage.label(b, SQUARE)
        ours, theirs = (
            [lab == k for k in range(1, count + 1)] for lab, count in ((la, n), (lb, m))
        )
        iou = np.array([[(p & q).sum() / (p | q).sum() for q in theirs] for p in ours])
        iou = iou.reshape(n, m)
        ra, rb = rle.find(a), rle.find(b)
        na, ia = rle.label(ra, diagonal=True)
        nb, ib = rle.label(rb, diagonal=True)
        areas = (
            np.bincount(ia, ra.length, na).astype(int),
            np.bincount(ib, rb.length, nb).astype(int),
        )
        match = match_objects(*areas, overlaps(ra, ia, rb, ib), limit)
        found = match[match >= 0]
        assert len(found) == best_matching(iou, limit)
        assert len(set(found.tolist())) == len(found)


def test_exact_ties_are_matched_one_to_one():
    # prediction 0 has IoU 0.5 with both halves; prediction 1 equals nothing
    areas = np.array([8, 3]), np.array([4, 4])
    pairs = np.array([[0, 0, 4], [0, 1, 4]])
    match = match_objects(*areas, pairs, 0.5)
    assert (match >= 0).sum() == 1
    assert match[1] == -1


def test_object_scores_of_all_empty_cases():
    def of(*numbers):
        scores = object_scores(*numbers)
        return [scores[key] for key in ("precision", "recall", "f1")]

    assert of(0, 0, 0) == [1.0, 1.0, 1.0]
    assert of(0, 3, 0) == [0.0, 0.0, 0.0]
    assert of(0, 0, 3) == [0.0, 0.0, 0.0]
    assert of(2, 4, 2) == [0.5, 1.0, pytest.approx(2 / 3)]


def test_tally_equals_brute_force_on_the_grid():
    rng = np.random.default_rng(5)
    height, width, tile = 47, 61, (20, 13)
    for density in (0.0, 0.02, 0.6):
        p, a = rng.random((2, height, width)) < density
        tissue = np.kron(rng.random((3, 4)) < 0.5, np.ones((16, 16), bool))[:height, :width]
        tally = Tally((width, height), tile)
        for top in range(0, height, 7):
            part = np.s_[top : top + 7]
            tally.add(top, p[part], a[part], tissue[part])
        scores = tally.scores(3)
        tiles, empty = [], 0
        for y in range(0, height, tile[1]):
            for x in range(0, width, tile[0]):
                part = np.s_[y : y + tile[1], x : x + tile[0]]
                if tissue[part].any():
                    tiles.append(([x * 3, y * 3], slow_dice(p[part], a[part])))
                    empty += not (p[part] | a[part]).any()
        assert [(tile["xy"], tile["dice"]) for tile in scores["tiles"]] == tiles
        assert scores["tile_dice"] == pytest.approx(np.mean([dice for _, dice in tiles]))
        assert scores["foreground"]["dice"] == slow_dice(p & tissue, a & tissue)
        assert scores["everywhere"]["dice"] == slow_dice(p, a)
        assert scores["outside_foreground"] == (a & ~tissue).sum()
        assert scores["tiles_empty"] == empty


CLASSES = {"tuft": {"values": [1, 3]}, "capsule": {"values": [2, 3]}}


def run_metrics(slide: LabelledSlide, *more: str, mask: dict | None = None) -> dict:
    output = slide.folder / "{model}" / "{slide}.json"
    code = cli.main(
        [
            "metrics",
            str(slide.labels),
            "--record",
            str(slide.check),
            "--annotation",
            str(slide.annotation),
            "--foreground",
            str(slide.foreground),
            "--probability",
            str(slide.probability),
            "--options",
            '{"tile": [200, 300]}',
            "--mask-options",
            json.dumps(mask or {}),
            "--classes",
            json.dumps(CLASSES),
            "--output",
            str(output),
            *more,
        ]
    )
    assert code == 0
    return json.loads((slide.folder / "m1" / "s1.json").read_text())


def test_verb_scores_the_delivered_masks(tmp_path):
    slide = LabelledSlide(tmp_path, (1203, 2611), 2, 0.25)
    width, height = slide.working_size
    labels, marked = np.zeros((2, height, width), np.uint8)
    labels[480:540, 100:160] = 1  # over a border of bands
    marked[480:540, 110:160] = 1  # IoU 5/6
    labels[700:760, 300:360] |= 1  # extra
    labels[10:14, 10:14] |= 1  # a speck of 4 um2
    marked[900:950, 400:450] |= 1  # missed
    marked[0:20, 590:600] |= 2
    slide.write_labels(labels, CLASSES)
    slide.write_annotation(marked)
    tissue = np.ones((ceil_div(height, 16), ceil_div(width, 16)), bool)
    tissue[:, -3:] = False  # from column 560
    slide.write_foreground(tissue)
    result = run_metrics(slide, mask={"min_object_um2": 5})
    assert (result["slide"], result["model"]) == ("s1", "m1")
    assert (result["mpp"], result["working_mpp"]) == (0.25, 0.5)
    tuft = result["classes"]["tuft"]
    assert tuft["annotated"] is True
    assert {key: tuft["everywhere"][key] for key in ("tp", "fp", "fn")} == {
        "tp": 3000,
        "fp": 600 + 3600,
        "fn": 2500,
    }
    assert tuft["objects"] == {
        "tp": 1,
        "fp": 1,
        "fn": 1,
        "precision": 0.5,
        "recall": 0.5,
        "f1": 0.5,
    }
    assert tuft["object_table"] == [
        {
            "area_um2": 900.0,
            "x": 260.0,
            "y": 1020.0,
            "box": [200, 960, 320, 1080],
            "probability": 0.8,
            "matched": True,
            "iou": 0.8333,
        },
        {
            "area_um2": 900.0,
            "x": 660.0,
            "y": 1460.0,
            "box": [600, 1400, 720, 1520],
            "probability": 0.8,
            "matched": False,
            "iou": 0.0,
        },
    ]
    assert tuft["missed"] == [
        {"area_um2": 625.0, "x": 850.0, "y": 1850.0, "box": [800, 1800, 900, 1900], "iou": 0.0}
    ]
    assert (tuft["objects_found"], tuft["area_found_um2"]) == (2, 1800.0)
    assert (tuft["objects_annotated"], tuft["area_annotated_um2"]) == (2, 1375.0)
    # Outlines: 60 x 60 found twice, 50 x 60 and 50 x 50 annotated. Within 2 um = 4 pixels the pair
    # of the matched object agree but for the left sides: of the found one all 60 pixels and 5
    # beside either end, of the annotated one all but 5 at either end.
    assert tuft["boundary"] == {
        "tolerance_um": 2.0,
        "found": 2 * 236,
        "found_near": 236 - 60 - 10,
        "annotated": 216 + 196,
        "annotated_near": 216 - 50,
        "precision": pytest.approx(166 / 472),
        "recall": pytest.approx(166 / 412),
        "f1": pytest.approx(2 * 166 / (472 + 412)),
    }
    assert "kpis2024" not in tuft
    assert len(tuft["tiles"]) == 3 * 5
    assert tuft["tiles"][4]["xy"] == [400, 600]
    assert tuft["tiles_empty"] == 15 - 3
    capsule = result["classes"]["capsule"]
    assert capsule["outside_foreground"] == 20 * 10
    assert capsule["foreground"] == {"tp": 0, "fp": 0, "fn": 0, "dice": 1.0}
    assert capsule["everywhere"]["dice"] == 0.0


def test_all_scores_of_random_masks_equal_brute_force(tmp_path):
    """Counts, Dice, tiles, objects, areas, centres and overlaps of one noisy slide."""
    slide = LabelledSlide(tmp_path, (411, 597), 1, 0.5)
    width, height = slide.working_size
    rng = np.random.default_rng(8)
    drawn = ndimage.gaussian_filter(rng.normal(size=(height, width)), 5)
    marked = drawn > 0.5 * drawn.std()
    found = drawn + 0.7 * np.roll(drawn, 3, 1) > 0.8 * drawn.std()
    found[200:300] = False
    cells = rng.random((38, 26)) < 0.8
    tissue = cells.repeat(16, 0).repeat(16, 1)[:height, :width]
    slide.write_labels(found.astype(np.uint8), CLASSES)
    slide.write_annotation(marked.astype(np.uint8))
    slide.write_foreground(cells)
    scores = run_metrics(slide, mask={"min_object_um2": 0, "max_hole_um2": 0})["classes"]["tuft"]

    assert scores["foreground"]["dice"] == slow_dice(found & tissue, marked & tissue)
    assert scores["everywhere"]["dice"] == slow_dice(found, marked)
    assert scores["outside_foreground"] == (marked & ~tissue).sum()
    tiles = [
        slow_dice(found[place], marked[place])
        for top in range(0, height, 300)
        for left in range(0, width, 200)
        if tissue[place := np.s_[top : top + 300, left : left + 200]].any()
    ]
    assert [tile["dice"] for tile in scores["tiles"]] == tiles
    assert scores["tile_dice"] == pytest.approx(np.mean(tiles))

    sides = [ndimage.label(mask, SQUARE) for mask in (found, marked)]
    theirs, drawn_ones = (
        [labels == number for number in range(1, count + 1)] for labels, count in sides
    )
    iou = np.array([[(p & q).sum() / (p | q).sum() for q in drawn_ones] for p in theirs])
    matched, missed = (iou >= 0.5).any(axis=1), ~(iou >= 0.5).any(axis=0)
    assert 3 < matched.sum() < len(theirs)
    assert scores["objects"]["tp"] == matched.sum()
    assert (scores["objects"]["fp"], scores["objects"]["fn"]) == ((~matched).sum(), missed.sum())
    assert (scores["objects_found"], scores["objects_annotated"]) == iou.shape
    assert scores["area_annotated_um2"] == marked.sum() * 0.25
    expected = [
        _entry(p) | {"iou": iou[i].max(), "matched": matched[i]} for i, p in enumerate(theirs)
    ]
    _compare(scores["object_table"], expected)
    expected = [_entry(q) | {"iou": iou[:, j].max()} for j, q in enumerate(drawn_ones) if missed[j]]
    _compare(scores["missed"], expected)


def _entry(mask) -> dict:
    rows, columns = np.nonzero(mask)
    box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    return {
        "area_um2": mask.sum() * 0.25,
        "box": box,
        "x": columns.mean() + 0.5,
        "y": rows.mean() + 0.5,
    }


def _compare(ours: list[dict], theirs: list[dict]) -> None:
    """Equal but for their order and for rounding."""
    order = [sorted(table, key=lambda one: tuple(one["box"])) for table in (ours, theirs)]
    assert len(ours) == len(theirs)
    for one, other in zip(*order, strict=True):
        for key, value in other.items():
            assert one[key] == pytest.approx(value, abs=6e-3), key


def test_classes_nobody_annotated_are_not_scored(tmp_path):
    slide = LabelledSlide(tmp_path, (301, 1237), 1, 0.5)
    labels = np.zeros(slide.working_size[::-1], np.uint8)
    labels[500:560, 20:80] = 3
    slide.write_labels(labels, CLASSES)
    slide.write_annotation(labels & 1)
    slide.write_foreground(np.ones((78, 19), bool))
    result = run_metrics(slide, "--annotated", "tuft")
    assert result["classes"]["tuft"]["foreground"]["dice"] == 1.0
    capsule = result["classes"]["capsule"]
    assert capsule["annotated"] is False
    assert set(capsule) == {"annotated", "objects_found", "area_found_um2", "object_table"}
    assert (capsule["objects_found"], capsule["area_found_um2"]) == (1, 900.0)
    assert [item["matched"] for item in capsule["object_table"]] == [None]


def test_scores_do_not_depend_on_the_band_height(tmp_path, monkeypatch):
    slide = LabelledSlide(tmp_path, (301, 1237), 1, 0.5)
    rng = np.random.default_rng(2)
    noise = ndimage.gaussian_filter(rng.random((2, *slide.working_size[::-1])), (0, 6, 6)) > 0.5
    slide.write_labels(noise[0].astype(np.uint8), CLASSES)
    slide.write_annotation(noise[1].astype(np.uint8))
    slide.write_foreground(rng.random((78, 19)) < 0.7)
    results = []
    for band in (512, 64, 2048):
        monkeypatch.setattr(cleaning, "BAND", band)
        monkeypatch.setattr("holohisto.masks.frame.BAND", band)
        results.append(run_metrics(slide, mask={"min_object_um2": 20, "max_hole_um2": 10}))
    assert results[0] == results[1] == results[2]
    assert results[0]["classes"]["tuft"]["objects"]["fp"] > 10


@pytest.mark.data
def test_a_real_annotation_scores_one_against_itself(tmp_path, data):
    image, marked = data / "slides" / "mosaic_a.tif", data / "slides" / "mosaic_a_mask.tif"
    slide = LabelledSlide(tmp_path, (4519, 2693), 1, 0.5, image)
    labels = Annotation(marked, {"tuft": ClassOptions()}, slide.size, 1).read((0, 0), slide.size)
    slide.write_labels(labels, CLASSES)
    slide.write_annotation(labels)
    slide.write_foreground(np.ones((169, 283), bool))
    tuft = run_metrics(slide, "--annotated", "tuft")["classes"]["tuft"]
    assert tuft["foreground"]["dice"] == 1.0
    assert tuft["foreground"]["tp"] == np.count_nonzero(labels)
    assert tuft["objects"] == {
        "tp": 8,
        "fp": 0,
        "fn": 0,
        "precision": 1.0,
        "recall": 1.0,
        "f1": 1.0,
    }
    assert sum(item["area_um2"] for item in tuft["object_table"]) == np.count_nonzero(labels) / 4
