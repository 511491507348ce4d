"""The page over a fabricated run: complete, self-contained, and robust."""

import shutil

import pytest
import report_cohort
from report_page import Page, render

from holohisto.report.results import record
from holohisto.runtime.seal import read_sealed_json


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
    failed, scores = text.index("Fix the cause"), text.index("Dice measures the overlap")
    for slide, stage, reason in (
        ("NEP25_06", "infer holohisto", report_cohort.OUT_OF_MEMORY),
        ("normal_07", "check", "slides/normal_07.tiff: no resolution in the header"),
    ):
        place = text.index(f"{slide} {stage} {reason}")
        assert failed < place < scores
    assert "an earlier line" not in text


def test_what_users_write_is_escaped(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "run")
    log = tmp_path / "run/logs/check/normal_07.log"
    log.write_text(f"14:02:11 ERROR {report_cohort.SCRIPT}\n")
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


def test_an_empty_run_is_still_a_page(tmp_path):
    (tmp_path / "slides.tsv").write_text("slide\timage\tsplit\na\ta.tiff\tpredict\n")
    text = Page(render(tmp_path)).text
    assert "1 slide, 2 models: 1 failed." in text
    assert "whole cohort tokenizer not started" in text
    assert "a check not started: the run ended earlier" in text
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
        "models/holohisto/token_value.tsv",
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


@pytest.mark.parametrize(
    "name",
    [
        "gallery/gallery.json",
        "check/DN_09.json",
        "tokens/DN_09.json",
        "models/holohisto/labels/DN_09.json",
        "models/holohisto/masks/DN_09.json",
        "models/holohisto/metrics/DN_09.json",
    ],
)
def test_a_digit_changed_in_a_file_is_not_shown(folder, tmp_path, name, caplog):
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    text = (folder / "results" / name).read_text()
    path.write_text(text)
    assert record(path) == read_sealed_json(path)
    digit = next(c for c in text if c.isdigit())
    path.write_text(text.replace(digit, str((int(digit) + 1) % 10), 1))
    assert record(path) == {}
    assert "does not match its digest" in caplog.text
