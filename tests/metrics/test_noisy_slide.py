"""All scores of a noisy slide against brute force."""

import numpy as np
import pytest
from labelled_slide import LabelledSlide
from scipy import ndimage
from scored_slide import CLASSES, run_metrics, slow_dice

SQUARE = np.ones((3, 3))


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
