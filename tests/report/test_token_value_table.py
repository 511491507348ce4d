"""What the tokens add, in the report."""

import pytest
from report_page import Page, run_of

from holohisto.report import failures
from holohisto.report.tables.cost import cohort_lines
from holohisto.report.tables.token_value import COLUMNS, numbers, token_value_table
from holohisto.statistics.files import read_table

HEADER = "slide\tcondition\ttiles\tdice x\tdice mean\n"
MODELS = {
    "m": {"weights": None},
    "k": {"kind": "holohisto", "decoder": "tokens"},
    "linear": {"kind": "holohisto", "embedding": "linear"},
    "unet": {"kind": "unet"},
}


def run_with(tmp_path, *models: str, **changes):
    """Two slides of these models: as they are 0.9 and 0.8, left out 0.86 and 0.8, shuffled 0.4."""
    run = run_of(tmp_path, models=MODELS, **changes)
    lines = [("a", 0.9, 0.86, 0.3, 64), ("b", 0.8, 0.8, 0.5, 7)]
    text = HEADER + "".join(
        f"{slide}\t{condition}\t{tiles}\t{dice}\t{dice}\n"
        for slide, *scores, tiles in lines
        for condition, dice in zip(("as they are", "left out", "shuffled"), scores, strict=True)
    )
    for model in models:
        path = run.results.token_value(model)
        path.parent.mkdir(parents=True)
        path.write_text(text)
    return run


def test_means_and_losses_are_those_of_the_slides(tmp_path):
    table = numbers(run_with(tmp_path, "m", "linear", "unet"))
    assert list(table.columns) == list(COLUMNS)
    assert list(table["model"]) == ["m"]  # the others read no tokens
    row = table.iloc[0]
    assert (row["slides"], row["tiles"]) == (2, 71)
    expected = {
        "dice as they are": 0.85,
        "dice left out": 0.83,
        "dice shuffled": 0.4,
        "loss left out": 0.02,
        "loss shuffled": 0.45,
    }
    assert {key: row[key] for key in expected} == pytest.approx(expected)


def test_a_slide_without_a_score_in_each_condition_does_not_count(tmp_path):
    run = run_with(tmp_path, "m")
    path = run.results.token_value("m")
    path.write_text(path.read_text() + "c\tas they are\t9\t\t\nc\tleft out\t9\t0.1\t0.1\n")
    row = numbers(run).iloc[0]
    assert (row["slides"], row["tiles"], row["dice left out"]) == (2, 71, pytest.approx(0.83))


def test_the_table_is_printed_in_percent_and_points(tmp_path):
    run = run_with(tmp_path, "m", "k")
    printed = token_value_table(run, numbers(run))
    assert printed is not None
    assert printed.bands == [("Dice, %", 3), ("Loss, points", 2), ("Measured on", 2)]
    assert [head.text for head in printed.heads] == [
        "as they are",
        "left out",
        "shuffled",
        "left out",
        "shuffled",
        "Slides",
        "Tiles",
    ]
    assert [(line.name, line.ours) for line in printed.lines] == [("m", True), ("k", False)]
    cells = printed.lines[0].cells
    assert [cell.text for cell in cells] == ["85.00", "83.00", "40.00", "2.00", "45.00", "2", "71"]
    assert [cell.kind for cell in cells[3:5]] == ["lower", ""]


@pytest.mark.parametrize(
    ("loss", "remark"),
    [
        (0.05, None),
        (0.0499, "falls only by 4.99 points."),
        (0.0, "falls only by 0.00 points."),
        (-0.021, "rises by 2.10 points."),
    ],
)
def test_tokens_that_add_little_are_named(tmp_path, loss, remark):
    run = run_with(tmp_path, "m")
    table = numbers(run)
    table["loss left out"] = loss
    printed = token_value_table(run, table)
    assert printed is not None
    start = "m: the tokens add little: with all of them left out, the mean Dice "
    assert printed.notes == ([] if remark is None else [start + remark])
    assert printed.lines[0].cells[3].text == f"{100 * loss:.2f}".replace("-", "−")


def test_without_token_maps_there_is_no_table(tmp_path):
    online = run_with(tmp_path, "m", parameters={"tokens": {"mode": "online"}})
    assert numbers(online).empty
    assert token_value_table(online, numbers(online)) is None
    assert numbers(run_of(tmp_path / "other")).empty


def test_an_empty_table_of_a_model_has_no_line(tmp_path):
    run = run_with(tmp_path, "m")
    run.results.token_value("m").write_text(HEADER)
    assert numbers(run).empty


def test_the_page_and_the_tsv_show_it(folder, html):
    section = html.split('<section id="tokens">')[1].split("</section>")[0]
    assert section.index("What the tokens add") < section.index("What the tokens preserve")
    shown = read_table(folder / "results/tables/token_value.tsv")
    assert list(shown["model"]) == ["holohisto"]
    row = shown.iloc[0]
    count = int(row["slides"])
    assert count == 7
    assert row["tiles"] == sum(60 + n for n in range(count))
    assert row["loss left out"] == pytest.approx(0.09)
    assert row["loss shuffled"] == pytest.approx(0.3)
    mean = 90 + (count // 2) / count
    text = Page(html).text
    assert f"holohisto {mean:.2f} {mean - 9:.2f} {mean - 30:.2f} 9.00 30.00 7 441" in text
    assert "the tokens add little" not in text


def test_a_measurement_that_failed_is_listed_and_costs_time(tmp_path):
    run = run_of(tmp_path, models={"m": {"weights": "m.safetensors"}})
    log = run.logs / "token_value/m.log"
    log.parent.mkdir(parents=True)
    run.results.tokenizer.parent.mkdir(parents=True)
    run.results.tokenizer.touch()
    assert failures.cohort_failures(run) == []
    log.write_text("10:00:00 ERROR results/tokens/b.safetensors: is of another tokenizer\n")
    (failure,) = failures.cohort_failures(run)
    assert (failure.stage, failure.model) == ("token_value", "m")
    assert failure.reason == "results/tokens/b.safetensors: is of another tokenizer"
    log.write_text("10:00:00 INFO token_value: done in 61.5 s, 900 MB\n")
    (line,) = cohort_lines(run)
    assert (line.name, line.seconds, line.megabytes) == ("token_value m", 61.5, 900)
    path = run.results.token_value("m")
    path.parent.mkdir(parents=True)
    path.write_text(HEADER)
    assert failures.cohort_failures(run) == []
