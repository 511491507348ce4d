"""How unsure a model is of a slide, from the files of `infer`."""

import json
import math

import numpy as np
import pytest
import ranking as benchmark

from holohisto.pyramid.write import write_rows
from holohisto.runtime.results import Results
from holohisto.sheet.cells import Row
from holohisto.statistics.uncertainty import COLUMNS, of_probabilities, ranking, slide_uncertainty


def write(results, slide, values, seam=None):
    path = results.probability("m", slide)
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.asarray(values, np.uint8)
    write_rows(path, [pixels], pixels.shape[::-1], 2.0, {"slide": slide})
    if seam is not None:
        facts = results.inference("m", slide)
        facts.parent.mkdir(parents=True, exist_ok=True)
        facts.write_text(json.dumps({"seam": seam}))


def seam(*counts):
    return {f"c{i}": {"differing": d, "either": e} for i, (d, e) in enumerate(counts)}


def test_the_measures_are_those_of_the_formula(tmp_path):
    results = Results(tmp_path)
    pixels = np.zeros((700, 37), np.uint8)  # several bands of rows, no multiple of a tile
    pixels[3:10, 5] = 255  # sure
    pixels[600:603, 5] = 204  # p = 0.8
    pixels[650:654, 6] = 102  # p = 0.4: nearly found
    pixels[660:690, 7] = 51  # p = 0.2: background
    write(results, "a", pixels, seam((3, 10), (1, 30)))
    found = slide_uncertainty(results, "m", "a")
    expected = (3 * 4 * 0.8 * 0.2 + 4 * 4 * 0.4 * 0.6) / (7 + 3 + 4)
    assert found.probability_uncertainty == pytest.approx(expected)
    assert found.seam_disagreement == pytest.approx(0.1)
    assert found.probability == pytest.approx((7 + 3 * 0.8) / 10)
    assert found.uncertainty == pytest.approx((expected + 0.1) / 2)


@pytest.mark.parametrize("facts", [None, {}, {"c": {}}, {"c": 3}, seam((0, 0)), [1]])
def test_without_seams_the_probabilities_alone_count(tmp_path, facts):
    results = Results(tmp_path)
    write(results, "a", np.full((9, 21), 204), facts)
    found = slide_uncertainty(results, "m", "a")
    assert math.isnan(found.seam_disagreement)
    assert found.uncertainty == pytest.approx(0.64)


def test_a_slide_without_any_object_has_no_uncertainty():
    counts = np.zeros(256, np.int64)
    counts[20] = 1000
    assert math.isnan(of_probabilities(counts).uncertainty)


def test_the_least_sure_slide_comes_first_and_empty_ones_last(tmp_path, caplog):
    results = Results(tmp_path)
    for slide, value in (("sure", 250), ("empty", 3), ("unsure", 140)):
        write(results, slide, np.full((9, 21), value), seam((1, 10)) if value > 3 else None)
    rows = [Row(s, tmp_path / s, "predict", group="g") for s in ("sure", "empty", "unsure", "none")]
    table = ranking(rows, results, "m")
    assert tuple(table.columns) == COLUMNS
    assert table["slide"].tolist() == ["unsure", "sure", "empty"]
    assert table["rank"].tolist() == [1, 2, 3]
    assert table["uncertainty"].isna().tolist() == [False, False, True]
    assert "none: not ranked" in caplog.text


def test_the_benchmark_correlates_uncertainty_with_low_dice(tmp_path):
    results = Results(tmp_path)
    lines = ["model\tslide\tclass\tdice_foreground"]
    for slide, value, dice in (("a", 250, 0.9), ("b", 200, 0.7), ("c", 140, 0.4), ("d", 220, 0.5)):
        write(results, slide, np.full((9, 21), value))
        lines += [f"m\t{slide}\tx\t{dice}", f"m\t{slide}\ty\t{dice - 0.1}"]
    results.scores.parent.mkdir()
    results.scores.write_text("\n".join(lines) + "\n")
    measured = benchmark.measured(results)
    assert measured["dice"].round(2).tolist() == [0.85, 0.65, 0.35, 0.45]
    (row,) = benchmark.correlations(measured).to_dict("records")
    assert row["uncertainty"] == pytest.approx(0.8)
    assert math.isnan(row["seam_disagreement"])
