"""The report over a fabricated run: what it says, and that it stands alone."""

import copy
import json
import math
import re
import shutil
from itertools import product

import numpy as np
import pandas as pd
import pytest
import report_fixture
from PIL import Image
from report_fixture import Page, make, render, run_of, shared

from holohisto import cli
from holohisto.report import (
    failures,
    ledger,
    words,
)
from holohisto.report.pictures import figures, gallery, picture
from holohisto.report.tables import frames, inference, table1, table3
from holohisto.report.tables.certainty import certainty_tables
from holohisto.sheet.cells import Row
from holohisto.statistics.files import read_table


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = report_fixture.build(tmp_path_factory.mktemp("run"), side=700)
    assert cli.main(report_fixture.arguments(folder)["cohort"]) == 0
    assert cli.main(report_fixture.arguments(folder)["report"]) == 0
    return folder


@pytest.fixture(scope="module")
def html(folder):
    return (folder / "report.html").read_text()


def test_the_page_is_one_file_that_loads_nothing(html):
    for address in Page(html).addresses:
        assert address.startswith(("data:", "#")), address[:60]
    assert "http://" not in html
    assert "https://" not in html
    assert "<script" not in html
    assert "url(" not in html


def test_links_of_the_page_lead_somewhere(html):
    parsed = Page(html)
    targets = {address[1:] for address in parsed.addresses if address.startswith("#")}
    assert targets == {
        "failed",
        "scores",
        "gallery",
        "slides",
        "training",
        "tokens",
        "cost",
        "inference",
        "list",
        "parameters",
        "provenance",
    }
    assert targets <= parsed.ids


def test_summary_counts_in_three_words(html):
    assert "16 slides, 4 groups, 2 models: 13 done, 2 failed, 1 excluded; holohisto reaches a" in (
        Page(html).text
    )


def test_failed_slides_come_first_with_stage_and_last_error(html):
    text = Page(html).text
    failed, scores = text.index("Mend the cause"), text.index("Dice is the overlap")
    for slide, stage, reason in (
        ("NEP25_06", "infer holohisto", report_fixture.OUT_OF_MEMORY),
        ("normal_07", "check", "slides/normal_07.tiff: no resolution in the header"),
    ):
        place = text.index(f"{slide} {stage} {reason}")
        assert failed < place < scores
    assert "an earlier line" not in text


def test_tables_show_the_values_of_the_cohort(folder, html):
    groups = read_table(folder / "results/cohort/groups.tsv")
    text = Page(html).text
    for row in groups[groups["group"] != "pooled"].to_dict("records"):
        for measure in ("dice_mean", "dice_over_tiles", "f1_mean"):
            assert f"{100 * row[measure]:.2f}" in text
    slides = read_table(folder / "results/cohort/slides.tsv")
    for row in slides[slides["model"] == "holohisto"].to_dict("records"):
        assert f"Dice {100 * row['dice_foreground']:.2f} %" in text


def test_tables_say_what_each_training_started_from(html):
    """But of the colour threshold, which is called what it is."""
    text = Page(html).text
    assert "holohisto scratch 9" in text  # Table 1, and what each model saw
    assert "floor colour threshold n" not in text
    assert "floor colour threshold; n = 8" in text
    assert "floor pretrained: <mit>.pth 5 M" in text


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Rivals, variants and a second structure, whose scores are those of the first."""
    folder = report_fixture.build(
        tmp_path_factory.mktemp("compared"), slides=32, side=300, models=report_fixture.COMPARED
    )
    for path in folder.glob("results/models/*/metrics/*.json"):
        record = json.loads(path.read_text())
        record["classes"]["tuft"] = copy.deepcopy(record["classes"]["glomerulus"])
        record["classes"]["tuft"]["foreground"]["dice"] /= 2
        path.write_text(json.dumps(record))
    classes = json.dumps({"glomerulus": {}, "tuft": {}})
    for line in report_fixture.arguments(folder, report_fixture.COMPARED).values():
        line[line.index("--classes") + 1] = classes
        assert cli.main(line) == 0
    return folder


def test_table_1_is_that_of_the_paper(compared):
    """Tiles by group, their mean and that of all slides, slides, and the tests of both units."""
    shown = read_table(compared / "results/tables/table1.tsv")
    groups = read_table(compared / "results/cohort/groups.tsv")
    tests = read_table(compared / "results/cohort/comparisons.tsv")
    assert list(shown["model"]) == 2 * list(report_fixture.COMPARED)
    own = shown[(shown["class"] == "tuft") & (shown["model"] == "unet")].iloc[0]
    parts = groups[(groups["class"] == "tuft") & (groups["model"] == "unet")].set_index("group")
    for group in (*report_fixture.GROUPS, "All", "pooled"):
        assert own[f"tile_dice {group}"] == parts["dice_over_tiles"][group]
        assert own[f"slide_dice {group}"] == parts["dice_mean"][group]
    tested = tests[(tests["class"] == "tuft") & (tests["model"] == "unet")]
    tested = tested[tested["scope"] == "All"].set_index("level")
    for unit in ("slides", "subjects"):
        for key in ("n", "shift", "p", "p_holm", "effect"):
            assert own[f"{key} {unit}"] == tested[key][unit]
    html = (compared / "report.html").read_text()
    head = html[html.index("Table 1: the models") :]
    head = head[head.index("<thead>") : head.index("</thead>")]
    assert (
        re.sub(r"<[^>]+>|\s+", " ", head).split("Model")[1].split()
        == ("56Nx DN NEP25 normal All all_slides All all_slides by_slides by_subjects")
        .replace("_", " ")
        .split()
    )
    body = html[html.index("Table 1: the models, tuft") :]
    row = body[body.index("<th>unet") :].split("</tr>")[0]
    cells = [re.split("<small>", cell)[0] for cell in re.findall(r"<td[^>]*>(.*?)</td>", row)]
    dice = [parts["dice_over_tiles"][group] for group in (*report_fixture.GROUPS, "All", "pooled")]
    dice += [parts["dice_mean"][group] for group in ("All", "pooled")]
    assert cells[:8] == [words.percent(value) for value in dice]
    assert cells[8:] == ["yes, higher"] * 2


def test_table_2_is_by_structure(compared):
    shown = read_table(compared / "results/tables/table2.tsv").set_index("model")
    groups = read_table(compared / "results/cohort/groups.tsv")
    groups = groups[groups["group"] == "All"].set_index(["model", "class"])["dice_mean"]
    for model in report_fixture.COMPARED:
        one, other = groups[model]["glomerulus"], groups[model]["tuft"]
        assert list(shown.loc[model, ["dice glomerulus", "dice tuft"]]) == [one, other]
        assert shown["dice mean"][model] == pytest.approx((one + other) / 2)
    assert set(shown["slides tuft"]) == {17, 18}  # holohisto failed on one
    html = (compared / "report.html").read_text()
    part = html[html.index("Table 2") : html.index("Table 3")]
    text = re.sub(r"<[^>]+>|\s+", " ", part)
    assert " ".join(text.split()).count("n = 17") == 2
    assert f"{100 * shown['dice mean']['segformer']:.2f} F1" in " ".join(text.split())
    # The best of those that were scored on the same slides as the reference: itself.
    assert re.findall(r'best">([\d.]+)', part) == [
        words.percent(shown[f"dice {name}"]["holohisto"]) for name in ("glomerulus", "tuft", "mean")
    ]


def test_the_best_of_a_column_was_scored_on_all_of_its_slides(folder, html):
    """NEP25_06 failed with holohisto: the mean of the floor, over more slides, is no rival."""
    groups = read_table(folder / "results/cohort/groups.tsv").set_index(["model", "group"])
    part = html[html.index("Group by group") : html.index("Slide by slide")]
    block = part[part.index("Object F1, %") : part.index("Boundary F1, %")]
    row = block[block.index("<th>holohisto") :].split("</tr>")[0]
    expected = []
    for group in (*report_fixture.GROUPS, "All", "pooled"):
        own, other = groups.loc[("holohisto", group)], groups.loc[("floor", group)]
        rival = other["slides"] == own["slides"]
        expected.append(not rival or own["f1_mean"] >= other["f1_mean"])
    assert ["best" in cell for cell in re.findall("<td class=[^>]*>", row)] == expected
    assert groups["slides"]["holohisto", "NEP25"] < groups["slides"]["floor", "NEP25"]


def test_equal_pairs_are_told_where_they_make_too_few():
    row = {
        "model": "k",
        "result slides": "n too small",
        "n slides": 12.0,
        "n_zero slides": 9.0,
        "p_holm slides": 0.25,
        "p_least_holm slides": 0.25,
    }
    cell = table1._verdict(row, "slides", False, 0.01)
    assert (cell.text, cell.spread.split()) == ("too few slides", ["n", "=", "12,", "9", "equal"])
    told = {
        "reference": "m",
        "model": "k",
        "scope": "All",
        "level": "slides",
        "n": 12,
        "n_zero": 9,
        "shift": 0.0,
        "shift_low": math.nan,
        "shift_high": math.nan,
        "p_holm": 0.25,
        "method": "exact",
        "result": "n too small",
    }
    assert frames.comparison(told)["words"] == (
        "too few slides to tell: even if the 3 that are not equal agreed, p could not be below 0.25"
    )


def test_one_structure_needs_no_table_2_and_no_variants_no_table_3(folder, html):
    text = Page(html).text
    assert "Table 1" in text
    assert "Table 2" not in text
    assert "Table 3" not in text
    for name in ("table2", "table3"):
        assert (folder / f"results/tables/{name}.tsv").exists()


def test_table_3_holds_the_variants_of_the_method_alone(compared):
    shown = pd.read_csv(compared / "results/tables/table3.tsv", sep="\t")
    shown = shown[shown["class"] == "glomerulus"].set_index("model")
    assert list(shown.index) == ["holohisto", "softmax", "grid-half"]
    assert set(shown["pretrained"]) == {"scratch"}
    assert list(shown["attention"]) == ["relu", "softmax", "relu"]
    assert list(shown["sampler"]) == ["random", "random", "grid"]
    assert list(shown["tile"]) == ["3840 × 2160", "3840 × 2160", "2048 × 1080"]
    assert set(shown["steps"]) == {12_000}
    assert set(shown["pixels"]) == {96_000 * 3840 * 2160}
    html = (compared / "report.html").read_text()
    part = html[html.index("Table 3") : html.index("Group by group")]
    changed = re.findall(r'class="says changed">([^<]+)', part)
    assert changed == ["softmax, 1 scale", "on a grid", "2048 × 1080"]
    assert "All of them saw 796\u202fG pixels, within 5 %" in part


def test_variants_are_recognised_by_their_options(tmp_path):
    plain = {"kind": "holohisto", "size": "T"}
    models = {
        "a": plain,
        "b": {**plain, "tile": [64, 64]},
        "c": {**plain, "size": "S"},
        "d": {"kind": "unet"},
        "e": {**plain, "tile": [128, 64]},
    }
    run = run_of(tmp_path, models=models, reference="a", parameters={"train": {"tile": [128, 64]}})
    assert table3.variants(run) == ["a", "b", "e"]
    run = run_of(tmp_path, models={key: models[key] for key in "ae"}, parameters=run.parameters)
    assert table3.variants(run) == []


def test_unequal_shares_of_pixels_are_told():
    rows = pd.DataFrame({"pixels": [1e9, 2e9]})
    assert "between 1\u202fG and 2\u202fG pixels" in table3._fair(rows)[0]
    assert "may not be comparable" in table3._fair(pd.DataFrame({"pixels": [1e9, math.nan]}))[0]


def test_objects_are_told_by_group(compared):
    shown = read_table(compared / "results/cohort/distributions.tsv")
    own = shown[(shown["model"] == "holohisto") & (shown["class"] == "glomerulus")]
    html = (compared / "report.html").read_text()
    text = Page(html).text
    for row in own.to_dict("records"):
        name = "all groups" if row["group"] == "pooled" else row["group"]
        assert (
            f"{name} {row['slides']} {words.count(row['objects'])} {row['objects_per_slide']:.1f}"
        ) in text
        assert " ".join(words.area(row["area_p50_um2"]).split()) in text
    plot = html[html.index('aria-label="Areas of glomerulus') :].split("</svg>")[0]
    assert plot.count('class="half"') == len(report_fixture.GROUPS)


def test_validation_slides_say_how_sure_a_model_must_be(tmp_path):
    models = {"one": {"kind": "holohisto"}, "sure": {"kind": "unet"}, "others": {"kind": "masks"}}
    splits = {"v1": "val", "v2": "val", "v3": "val", "t1": "test"}
    rows = {slide: Row(slide, tmp_path / "x.tif", split) for slide, split in splits.items()}
    run = run_of(tmp_path, rows=rows, models=models, reference="one")
    told = {
        "v1": ([(0.9, True), (0.92, True), (0.62, False), (0.74, False)], 3),
        "v2": ([(0.97, True), (0.81, True)], 2),
        "v3": ([(0.6, False)], None),  # nobody drew the class there
        "t1": ([(0.99, False)] * 9, 4),
    }
    for model, (slide, (objects, annotated)) in product(models, told.items()):
        items = [{"probability": p, "matched": m} for p, m in objects if m or model == "one"]
        entry = {"annotated": annotated is not None, "object_table": items}
        entry |= {"objects_annotated": annotated} if annotated else {}
        path = tmp_path / f"results/models/{model}/metrics/{slide}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"classes": {"glomerulus": entry}}))
    shown = certainty_tables(run)["glomerulus"]
    assert [(line.name, line.ours) for line in shown.lines] == [("one", True), ("sure", False)]
    assert [[cell.text for cell in line.cells] for line in shown.lines] == [
        ["5", "6", "72.73", "0.75", "88.89"],  # 8 / 11, then 8 / 9; 0.85 would lose a true one
        ["5", "4", "88.89", words.ABSENT, words.ABSENT],
    ]
    del rows["v1"], rows["v2"]
    assert certainty_tables(run) == {}


def test_the_page_says_how_sure_of_an_object(folder, html):
    path = next(folder.glob("results/models/holohisto/metrics/*_05.json"))  # its validation slide
    scores = json.loads(path.read_text())["classes"]["glomerulus"]["objects"]
    drawn, found = scores["tp"] + scores["fn"], scores["tp"] + scores["fp"]
    f1 = words.percent(2 * scores["tp"] / (drawn + found))
    text = Page(html).text
    section = text[text.index("How sure of an object?") :]
    assert f"holohisto {drawn} {found} {f1} {words.ABSENT} {words.ABSENT}" in section


def test_box_plot_places_quantiles_on_a_logarithmic_axis():
    box = figures.Box("g", 7, [100, 200, 400, 800, 1600])
    drawing = str(figures.box_plot([box], "label"))
    low, high = 100 / 1.1, 1600 * 1.1
    span = figures.WIDTH - figures.LEFT - figures.RIGHT
    left = figures.LEFT + span * math.log(200 / low) / math.log(high / low)
    width = span * math.log(4) / math.log(high / low)
    assert f'<rect class="half" x="{left:.1f}"' in drawing
    assert f'width="{width:.1f}"' in drawing
    assert re.findall(r">(\d+)</text>", drawing) == ["100", "200", "500", "1000"]


def test_comparisons_are_in_words(html):
    text = Page(html).text
    assert (
        "floor pretrained: <mit>.pth; all groups, by slides holohisto scores higher than floor +"
    ) in text
    assert "even if all subjects agreed, p could not be below 0.125" in text
    assert "*" not in text


def test_what_users_write_is_escaped(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "run")
    log = tmp_path / "run/logs/check/normal_07.log"
    log.write_text(f"14:02:11 ERROR {report_fixture.SCRIPT}\n")
    sheet = tmp_path / "run/slides.tsv"
    sheet.write_text(sheet.read_text().replace("\tNEP25\t", "\t<b>'\"NEP&\t"))
    html = render(tmp_path / "run", options='{"title": "<i>cohort"}')
    assert "<script" not in html
    assert "<i>cohort" not in html
    assert "<b>'" not in html
    assert html.count("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;") == 2  # log and note
    assert "&lt;b&gt;&#39;&#34;NEP&amp;" in html
    Page(html)


def test_a_slide_takes_less_than_100_kb(folder, compared, html):
    assert len(html.encode()) < 100_000 * 15  # one of 16 is excluded
    assert len((compared / "report.html").read_bytes()) < 100_000 * 31
    cards = [card.split("</article>")[0] for card in html.split('<article class="card">')[1:]]
    assert 40_000 < max(map(len, cards)) < 100_000


def test_examples_stand_beside_each_other(html):
    """Of every group a field by every model; of failures what is extra, and what was missed."""
    part = html[html.index('id="gallery"') : html.index('id="slides"')]
    titles = re.findall(r"<figcaption>([^<]+)", part)
    row = ["input", "annotation", "holohisto", "floor", "whole slide"]
    assert titles[: 4 * len(row)] == 4 * row
    text = Page(f"<section {part.rsplit('<section', 1)[0]}").text
    assert "glomerulus, 17 000 µm² touches nothing" in text
    assert "overlap 31 %" in text
    assert "overlap 62 %, reduced 2.3 times" in text
    assert text.count("nothing") == 3 + 1 + 2  # found or missed nothing near; nothing missed
    for alt in ("input, slide DN_13", "Missed: glomerulus"):
        assert f'alt="{alt}' in part


def test_pictures_of_examples_leave_room_for_the_slides(folder):
    run = run_of(folder, models={"holohisto": {}}, reference="holohisto")
    sizes = {
        room: sum(
            len(one.picture.data)
            for strip in (*fields, *failures)
            for one in (*strip.pictures, *strip.missed)
        )
        for room in (0, 150_000, 10**7)
        for fields, failures in [gallery.strips(run, room)]
    }
    number = 4 * 5 + 3 * 3 + 1
    assert 0 < sizes[0] <= number * (gallery.LEAST * 4 / 3 + 30)
    assert sizes[0] < sizes[150_000] <= 155_000 < sizes[10**7]
    assert sizes[10**7] <= number * (gallery.MOST * 4 / 3 + 30)


def test_an_empty_run_is_still_a_page(tmp_path):
    (tmp_path / "slides.tsv").write_text("slide\timage\tsplit\na\ta.tiff\tpredict\n")
    text = Page(render(tmp_path)).text
    assert "1 slide, 2 models: 1 failed." in text
    assert "whole cohort tokenizer not started" in text
    assert "a check not started: the run ended before" in text
    assert "No slide has been scored yet." in text


def test_no_models_and_no_metrics(tmp_path):
    (tmp_path / "slides.tsv").write_text("slide\timage\tsplit\na\ta.tiff\tpredict\n")
    assert "1 slide: 1 failed." in Page(render(tmp_path, models="{}")).text


@pytest.mark.parametrize(
    "name",
    [
        "cohort/groups.tsv",
        "cohort/slides.tsv",
        "cohort/comparisons.tsv",
        "cohort/objects.tsv",
        "cohort/distributions.tsv",
        "models/holohisto/segmenter.safetensors",
        "gallery/gallery.json",
        "tokenizer/training.tsv",
        "benchmarks/tokens/DN_09.tsv",
        "check/DN_09.json",
        "tokens/DN_09.json",
        "tokens/NEP25_02.json",
        "tokens/NEP25_02.jpg",
        "foreground/DN_09.jpg",
        "models/holohisto/overlays/DN_09.jpg",
    ],
)
@pytest.mark.parametrize("content", [None, "", "{\x00]\n1\t2\t3\n\n4"])
def test_any_part_may_be_missing_or_broken(folder, tmp_path, name, content):
    shutil.copytree(folder / "results", tmp_path / "results")
    shutil.copytree(folder / "logs", tmp_path / "logs")
    shutil.copy(folder / "slides.tsv", tmp_path)
    path = tmp_path / "results" / name
    path.unlink()
    if content is not None:
        path.write_text(content)
    Page(render(tmp_path))


def test_objects_of_slides_without_annotation_come_from_their_outlines(tmp_path):
    (tmp_path / "slides.tsv").write_text("slide\timage\tsplit\na\ta.tiff\tpredict\n")
    outlines = tmp_path / "results/models/holohisto/geojson/a.geojson"
    outlines.parent.mkdir(parents=True)
    feature = (
        '{"properties": {"classification": {"name": "glomerulus"},'
        ' "measurements": {"Area µm^2": %s}}}'
    )
    features = ", ".join(feature % area for area in (1000, 9000, 8000))
    outlines.write_text(f'{{"features": [{features}]}}')
    text = Page(render(tmp_path)).text
    assert "glomerulus found: 3, median area 8 000 µm²" in text
    assert "failed in check" in text


def segmented(slide):
    folder = "models/m"
    return (
        f"{folder}/labels/{slide}.tif",
        f"{folder}/masks/{slide}_x.tif",
        f"{folder}/masks/{slide}_y.tif",
        f"{folder}/geojson/{slide}.geojson",
        f"{folder}/overlays/{slide}.jpg",
    )


def test_outcomes_of_whole_slides(tmp_path):
    make(tmp_path, "tokenizer/tokenizer.safetensors", "models/m/segmenter.safetensors")
    make(tmp_path, *shared("a"), *shared("b"), *shared("c"), *segmented("b"), *segmented("c"))
    make(tmp_path, "models/m/metrics/b.json")
    words = {slide: one.word for slide, one in failures.outcomes(run_of(tmp_path)).items()}
    assert words == {"a": "done", "b": "done", "c": "done", "d": "excluded"}
    assert failures.cohort_failures(run_of(tmp_path)) == []


def test_a_mask_of_one_class_missing_is_a_failure_of_mask(tmp_path):
    make(tmp_path, *shared("c"), *segmented("c"))
    (tmp_path / "results/models/m/masks/c_y.tif").unlink()
    (failure,) = failures.outcomes(run_of(tmp_path))["c"].failures
    assert (failure.stage, failure.model) == ("mask", "m")


def test_metrics_are_expected_of_annotated_slides_only(tmp_path):
    make(tmp_path, *shared("b"), *shared("c"), *segmented("b"), *segmented("c"))
    outcomes = failures.outcomes(run_of(tmp_path))
    assert outcomes["b"].failures[0].stage == "metrics"
    assert outcomes["c"].word == "done"


def test_slides_that_wait_for_a_failed_training_say_so(tmp_path):
    make(tmp_path, "tokenizer/tokenizer.safetensors", *shared("c"))
    log = tmp_path / "logs/train/m.log"
    log.parent.mkdir(parents=True)
    log.write_text("10:00:00 ERROR slides: nothing is annotated\n")
    (cohort,) = failures.cohort_failures(run_of(tmp_path))
    assert (cohort.stage, cohort.model, cohort.reason) == (
        "train",
        "m",
        "slides: nothing is annotated",
    )
    (failure,) = failures.outcomes(run_of(tmp_path))["c"].failures
    assert (failure.reason, failure.started) == ("not started: model m is not trained", False)


def test_frozen_models_need_no_training_and_no_tokens_of_training_slides(tmp_path):
    run = run_of(tmp_path, models={"m": {"weights": "m.safetensors"}})
    make(tmp_path, "tokenizer/tokenizer.safetensors", *shared("a")[:2])
    assert failures.cohort_failures(run) == []
    assert failures.outcomes(run)["a"].word == "done"


def test_equal_failures_are_told_once(tmp_path):
    models = {"m": {"weights": "x"}, "k": {"weights": "x"}}
    make(tmp_path, "tokenizer/tokenizer.safetensors", *shared("b"), *shared("c"))
    log = tmp_path / "logs/infer/m/b.log"
    log.parent.mkdir(parents=True)
    log.write_text("10:00:00 ERROR broken\n")
    lines = failures.lines(failures.outcomes(run_of(tmp_path, models=models)))
    waited = "not started: the run ended before"
    assert [(line.slides, line.stage, line.models, line.reason) for line in lines] == [
        (("b",), "infer", ("m",), "broken"),
        (("a",), "check", (), waited),
        (("b",), "infer", ("k",), waited),
        (("c",), "infer", ("m", "k"), waited),
    ]


def test_reasons_in_logs(tmp_path):
    log = tmp_path / "x.log"
    assert failures.reason_in(log) is None
    log.write_text("10:00:00 INFO a\n10:00:01 ERROR one\n10:00:02 ERROR two\n10:00:03 INFO b\n")
    assert failures.reason_in(log) == "two"
    log.write_text("10:00:00 ERROR this is a bug in holohisto; x\nTraceback\nKeyError: 'y'\n\n")
    assert failures.reason_in(log) == "a bug in holohisto: KeyError: 'y'"
    log.write_text("10:00:00 INFO tiles: 3/9\n")
    assert failures.reason_in(log) == (
        "ended without an error line, perhaps killed for memory or time;"
        " its last line: 10:00:00 INFO tiles: 3/9"
    )
    log.write_text("10:00:00 INFO mask: done in 2.0 s\n")
    gone = "it was done, but its result is no longer there; run again"
    assert failures.reason_in(log) == gone
    log.write_text("10:00:00 INFO mask: done in 2.0 s, 113 MB\n")
    assert failures.reason_in(log) == gone
    log.write_text("")
    assert "killed" in failures.reason_in(log)


def test_picture_keeps_side_and_budget(tmp_path):
    image, _ = report_fixture.pictures(1500, np.random.default_rng(0))
    image.save(tmp_path / "a.jpg")
    made = picture.picture(tmp_path / "a.jpg", 640, 58_000)
    assert made is not None
    assert made.width <= 640
    assert abs(made.height / made.width - 0.7) < 0.01
    assert len(made.data) < 58_000 * 4 / 3 + 30
    assert picture.picture(tmp_path / "absent.jpg", 640, 1000) is None


def test_even_noise_fits_the_budget(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (900, 1300, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    made = picture.picture(tmp_path / "a.png", 640, 20_000)
    assert made is not None
    assert 100 < made.width < 640
    assert len(made.data) < 20_000 * 4 / 3 + 30


def test_dot_plot_places_dots_by_their_dice():
    dots = figures.Dots(("m", "k<"), {"s&1": {"m": 1.0, "k<": 0.5}, "s2": {"m": 0.75}}, "m")
    drawing = str(figures.dot_plot(dots, 0.5, "label"))
    xs = [float(x) for x in re.findall(r'<circle class="\w+" cx="([\d.]+)"', drawing)]
    width = figures.WIDTH - figures.LEFT - figures.RIGHT
    assert xs == [figures.LEFT + width, figures.LEFT + width / 2, figures.LEFT]
    assert "s&amp;1: 100.00 %" in drawing
    assert "k&lt;" in drawing
    assert "mean 87.50 %" in drawing


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.25, 0.5, 0.75, 1]),
        (0.0567, 0.354, [0, 0.1, 0.2, 0.3, 0.4]),
        (18.1, 30.8, [15, 20, 25, 30, 35]),
        (10, 1000, [0, 250, 500, 750, 1000]),
    ],
)
def test_ticks_are_round_and_enclose(low, high, ticks):
    assert figures.round_ticks(low, high) == pytest.approx(ticks)


def test_curve_needs_two_points_and_skips_gaps():
    nan = math.nan
    assert figures.curve([1, 2], [nan, 3], "loss", "step") is None
    assert figures.curve([1, 2, 3], [1, nan, 3], "loss", "step") is not None
    assert figures.curve([1, 2], [3, 3], "loss", "step") is not None
    long = str(figures.curve(list(range(10_000)), [1.0] * 9_999 + [2.0], "loss", "step"))
    assert len(long) < 8_000
    assert figures.lower_end([0.93, 0.99, nan]) == 0.9
    assert figures.lower_end([0.71]) == pytest.approx(0.6)
    assert figures.lower_end([0.0]) == 0.0


def test_benchmarks_with_gaps_and_repeats(tmp_path):
    path = tmp_path / "results/benchmarks/tokens/b.tsv"
    path.parent.mkdir(parents=True)
    path.write_text("s\th:m:s\tmax_rss\n2.0\t0:00:02\t-\n4.0\t0:00:04\t1500\n")
    path = tmp_path / "results/benchmarks/infer/m/b.tsv"
    path.parent.mkdir(parents=True)
    path.write_text("s\th:m:s\tmax_rss\n7.5\t0:00:07\tNA\n")
    (line,) = ledger.slide_lines(run_of(tmp_path))
    assert (line.seconds, line.megabytes) == (10.5, 1500)
    assert line.stages() == {"tokens": 3.0, "infer": 7.5}


def test_short_jobs_take_their_peak_from_the_log(tmp_path):
    header = "s\th:m:s\tmax_rss\n"
    jobs = {  # benchmark, log, and what they come to
        "check": ("0.43\t0:00:00\t6.98", "done in 0.1 s, 113 MB", (0.43, 113)),
        "foreground": (None, "done in 0.6 s, 250 MB", (0.6, 250)),
        "tokens": ("240.0\t0:04:00\t900.5", "done in 238.1 s, 850 MB", (240.0, 900.5)),
        "infer/m": ("0.50\t0:00:00\t6.98", "done in 0.2 s", (0.5, None)),
        "mask/m": ("NA\tNA\tNA", "done in 3.0 s, 90 MB\n10:00:01 WARNING late", (3.0, 90)),
    }
    for job, (benchmark, log, _) in jobs.items():
        if benchmark:
            path = tmp_path / "results/benchmarks" / job / "b.tsv"
            path.parent.mkdir(parents=True)
            path.write_text(f"{header}{benchmark}\n")
        path = tmp_path / "logs" / job / "b.log"
        path.parent.mkdir(parents=True)
        path.write_text(f"10:00:00 INFO started\n10:00:01 INFO {job.split('/')[0]}: {log}\n")
    (line,) = ledger.slide_lines(run_of(tmp_path))
    assert len(line.cells) == len(jobs)
    for job, (_, _, (seconds, megabytes)) in jobs.items():
        cost = line.cells[job.replace("/", " ")]
        assert cost.seconds == seconds
        assert math.isnan(cost.megabytes) if megabytes is None else cost.megabytes == megabytes
    assert words.memory(line.cells["infer m"].megabytes) == "–"


def test_a_job_that_failed_or_left_nothing_costs_nothing(tmp_path):
    path = tmp_path / "logs/check/b.log"
    path.parent.mkdir(parents=True)
    path.write_text("10:00:00 ERROR no\n")
    assert ledger.slide_lines(run_of(tmp_path)) == []


def test_a_verb_logs_time_and_peak_that_the_report_understands(folder, tmp_path):
    words = ["--log", str(tmp_path / "cohort/cohort.log")]
    assert cli.main(words + report_fixture.arguments(folder)["cohort"]) == 0
    (line,) = ledger.cohort_lines(run_of(tmp_path, logs=tmp_path))
    assert line.name == "cohort"
    assert 0 <= line.seconds < 60
    assert 50 < line.megabytes < 20_000  # Python with numpy, in MB


def test_the_colour_threshold_is_called_a_weak_floor(html):
    assert "The colour threshold is a weak floor and no rival" in Page(html).text
    assert "most of the tissue as one object" in Page(html).text


def test_inference_tells_bottleneck_and_seams(html, folder):
    text = Page(html).text
    facts = sorted(folder.glob("results/models/*/labels/*.json"))
    assert len(facts) > 10
    assert f"The bottleneck is model on {len(facts) - 2} of {len(facts)}." in text
    assert "On 2 of them overlapping tiles disagree by 5 % or more." in text
    start = f"{report_fixture.READ_SLOWLY}<small>holo"
    row = next(part for part in html.split("<tr>") if start in part)
    words = [cell.strip() for cell in re.sub("<[^>]*>", "|", row).split("|") if cell.strip()]
    assert words[1:] == [
        "holohisto, x86_64 CPU",
        "read",
        "1 min 38 s, 3 bands from before",
        "15 min 00 s",
        "0.0 s",
        "1 min 30 s",
        "4.0 s",
        "31 s",
        "9.0 %",
        "25 % of 40",
    ]


def test_inference_of_masks_from_elsewhere_is_not_told(tmp_path):
    assert inference.inference(run_of(tmp_path)) is None


def test_words_of_numbers():
    assert words.duration(3.24) == "3.2 s"
    assert words.duration(61) == "61 s"
    assert words.duration(245.4) == "4 min 05 s"
    assert words.duration(30_000) == "8 h 20 min"
    assert words.memory(900) == "900 MB"
    assert words.memory(21_040) == "21.0 GB"
    assert words.memory(9.94) == "9.9 MB"
    assert words.memory(0.042) == "0.042 MB"
    assert words.count(1_234_567) == "1\u202f234\u202f567"
    assert words.memory(math.nan) == "–"
    assert words.percent(0.93785) == "93.78"
    assert words.probability(0.00003) == "< 0.0001"
    assert words.probability(0.01562) == "0.016"
