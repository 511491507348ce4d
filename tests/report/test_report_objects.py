"""Objects in the report: numbers, areas and probabilities."""

import json
from itertools import product

import report_cohort
from report_page import Page, render, run_of

from holohisto.report import words
from holohisto.report.tables.certainty import certainty_tables
from holohisto.sheet.cells import Row
from holohisto.statistics.files import read_table


def test_objects_are_listed_by_group(compared):
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
    assert plot.count('class="half"') == len(report_cohort.GROUPS)


def test_validation_slides_give_the_minimum_probability(tmp_path):
    models = {"one": {"kind": "holohisto"}, "sure": {"kind": "unet"}, "others": {"kind": "masks"}}
    splits = {"v1": "val", "v2": "val", "v3": "val", "t1": "test"}
    rows = {slide: Row(slide, tmp_path / "x.tif", split) for slide, split in splits.items()}
    run = run_of(tmp_path, rows=rows, models=models, reference="one")
    slides = {
        "v1": ([(0.9, True), (0.92, True), (0.62, False), (0.74, False)], 3),
        "v2": ([(0.97, True), (0.81, True)], 2),
        "v3": ([(0.6, False)], None),  # nobody drew the class there
        "t1": ([(0.99, False)] * 9, 4),
    }
    for model, (slide, (objects, annotated)) in product(models, slides.items()):
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


def test_the_page_shows_the_minimum_probability(folder, html):
    path = next(folder.glob("results/models/holohisto/metrics/*_05.json"))  # its validation slide
    scores = json.loads(path.read_text())["classes"]["glomerulus"]["objects"]
    drawn, found = scores["tp"] + scores["fn"], scores["tp"] + scores["fp"]
    f1 = words.percent(2 * scores["tp"] / (drawn + found))
    text = Page(html).text
    section = text[text.index("Minimum probability of an object") :]
    assert f"holohisto {drawn} {found} {f1} {words.ABSENT} {words.ABSENT}" in section


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
