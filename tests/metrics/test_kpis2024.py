"""The KPIs challenge's Dice: by hand, and against its scorer's steps on whole arrays."""

import numpy as np
import pytest
from labelled_slide import LabelledSlide
from scipy import ndimage
from scored_slide import run_metrics

from holohisto.config.sections import MaskOptions
from holohisto.masks import cleaning
from holohisto.masks.cleaning import Bands
from holohisto.metrics import kpis2024
from holohisto.runtime.arithmetic import ceil_div
from holohisto.slide.scale import Scale

SQUARE = np.ones((3, 3))
AS_IT_IS = MaskOptions(min_object_um2=0, max_hole_um2=0)


def scored(labels, drawn, grid):
    """Our score of whole arrays: labels at working size, the annotation on the grid."""

    def read():
        for top in range(0, len(labels), cleaning.BAND):
            yield labels[top : top + cleaning.BAND].astype(np.uint8)

    bands = Bands(labels.shape[::-1], read)
    found = cleaning.find(bands, [0], 0.25, AS_IT_IS)[0]
    return kpis2024.score(bands, found, lambda rows: drawn[slice(*rows)], grid)


def scorers_steps(mask_level0, labels, factor):
    """What unet_validation_slide.py does, on whole arrays, every window voting the labels."""
    reference = ndimage.zoom(mask_level0, (1 / factor, 1 / factor), order=1)
    height, width = reference.shape
    total = np.zeros((height, width))
    patch, stride = 2048, 1024
    x_slide, y_slide = int((height - patch) / stride) + 1, int((width - patch) / stride) + 1
    for xi in range(x_slide):
        for yi in range(y_slide):
            x = height - patch if xi == x_slide - 1 else xi * stride
            y = width - patch if yi == y_slide - 1 else yi * stride
            total[x : x + patch, y : y + patch] += labels[x : x + patch, y : y + patch]
    voted = total > 1
    items, count = ndimage.label(voted, SQUARE)
    sizes = np.bincount(items.ravel(), minlength=count + 1)
    voted = (sizes >= 20000)[items] & (items > 0)
    first, second = voted.astype(np.int8), (reference / np.float32(255)).astype(np.int8)
    both, whole = np.logical_and(first, second).sum(), first.sum() + second.sum()
    return 2 * both / whole if whole else 1.0


def blobs(shape, seed, share):
    small = np.random.default_rng(seed).random([ceil_div(side, 40) for side in shape])
    smooth = ndimage.zoom(ndimage.gaussian_filter(small, 3), 40, order=1)
    return smooth[: shape[0], : shape[1]] > np.quantile(smooth, 1 - share)


@pytest.mark.parametrize(("height", "width"), [(5199, 6603), (6402, 6301)])
def test_slides_equal_the_scorers_steps(height, width):
    mask = blobs((height, width), 1, 0.2).astype(np.uint8) * 255
    labels = blobs((ceil_div(height, 2), ceil_div(width, 2)), 2, 0.15)
    labels |= mask[::2, ::2] > 0
    grid = kpis2024.grid_size((width, height), Scale.whole(2))

    def read(top, bottom):
        return (mask[top:bottom] > 0).astype(np.uint8)

    drawn = kpis2024.zoomed(read, (width, height), grid, (0, grid[1])) != 0
    theirs = scorers_steps(mask, labels, 2)
    assert 0.2 < theirs < 0.95
    ours = scored(labels, drawn, grid)
    assert ours["task"] == "slide"
    assert ours["dice"] == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize("size", [(77, 51), (64, 90), (5, 131)])
def test_the_annotation_is_interpolated_like_scipy(size, factor):
    mask = np.random.default_rng(6).random(size[::-1]) < 0.85
    zoomed = ndimage.zoom(mask.astype(np.uint8) * 255, 1 / factor, order=1)
    grid = kpis2024.grid_size(size, Scale.whole(factor))
    assert zoomed.shape == grid[::-1]

    def read(top, bottom):
        return mask[top:bottom].astype(np.uint8) << 1

    rows = [
        kpis2024.zoomed(read, size, grid, (top, min(top + 7, grid[1])))
        for top in range(0, grid[1], 7)
    ]
    np.testing.assert_array_equal(np.concatenate(rows), (zoomed == 255) * 2)


def test_windows_as_the_scorer_lays_them():
    # of 5000 pixels: windows at 0, 1024 and, pulled back, 2952; none at 2048
    votes = kpis2024.votes(5000)
    assert [int(votes[i]) for i in (0, 1023, 1024, 2047, 2048, 2951, 2952, 3071, 3072, 4999)] == [
        1,
        1,
        2,
        2,
        1,
        1,
        2,
        2,
        1,
        1,
    ]
    assert np.flatnonzero(kpis2024.votes(2500) == 0).tolist() == list(range(452))
    assert kpis2024.votes(2048).tolist() == [1] * 2048
    assert kpis2024.votes(517).tolist() == [1] * 517


def test_a_slide_by_hand():
    """3100 x 2500 px: windows at x = 0 and 1052, and one row of them, at y = 452."""
    labels, drawn = np.zeros((2, 2500, 3100), bool)
    labels[600:800, 1100:1300] = True  # two windows
    drawn[600:800, 1150:1350] = True  # 150 x 200 in common
    labels[600:800, 100:300] = drawn[600:800, 100:300] = True  # one window: lost
    labels[100:300, 1500:1700] = drawn[100:300, 1500:1700] = True  # no window: lost
    labels[1000:1100, 1400:1590] = True  # 19,000 px: dropped
    labels[1200:1300, 1400:1600] = True  # 20,000 px: kept
    result = scored(labels, drawn, (3100, 2500))
    assert result == {
        "task": "slide",
        "tp": 30_000,
        "fp": 10_000 + 20_000,
        "fn": 10_000 + 80_000,
        "dice": 60_000 / (60_000 + 30_000 + 90_000),
    }
    empty = np.zeros_like(labels)
    assert scored(empty, empty, (3100, 2500))["dice"] == 1.0


def test_a_patch_by_hand():
    labels, drawn = np.zeros((2, 1030, 2048), bool)
    labels[10:20, 10:20] = True  # small objects stay
    drawn[10:20, 15:25] = True
    assert scored(labels, drawn, (2048, 1030)) == {
        "task": "patch",
        "tp": 50,
        "fp": 50,
        "fn": 50,
        "dice": 0.5,
    }
    assert scored(labels, np.zeros_like(drawn), (2048, 1030))["dice"] is None


def test_the_verb_gives_it_beside_our_own(tmp_path):
    slide = LabelledSlide(tmp_path, (303, 517), 2, 0.25)
    labels = np.zeros(slide.working_size[::-1], np.uint8)  # 152 x 259; the scorer's is 152 x 258
    labels[100:200, 50:150] = 1
    marked = labels.copy()
    marked[100:200, 50:60] = 0
    labels[258] = 1
    slide.write_labels(labels, ["glomerulus"])
    slide.write_annotation(marked)
    slide.write_foreground(np.ones((17, 10), bool))
    options = ["--options", '{"protocol": "kpis2024"}', "--classes", '{"glomerulus": {}}']
    scores = run_metrics(slide, *options, mask={"min_object_um2": 0})["classes"]["glomerulus"]
    assert scores["everywhere"]["fp"] == 1000 + 152
    assert scores["kpis2024"] == {
        "task": "patch",
        "tp": 9000,
        "fp": 1000,
        "fn": 0,
        "dice": pytest.approx(18 / 19),
    }
