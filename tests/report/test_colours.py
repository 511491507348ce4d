"""Slides coloured unlike training, in the report."""

import json

import numpy as np
from report_page import Page, run_of

from holohisto.config.sections import ReportOptions
from holohisto.foreground.ink import ink_sentence
from holohisto.foreground.map import Foreground, save_foreground
from holohisto.report.colours import tissue_facts, unlike_slides
from holohisto.report.page import render
from holohisto.report.provenance import provenance
from holohisto.slide.scale import Scale
from holohisto.tiles.colour import COMMON, Colour

BLUE = Colour.of((0.48, 0.30, 0.21), COMMON.covariance)


class Record:
    scale, fingerprint, working_mpp = Scale.whole(1), "p", 0.5

    def __init__(self, slide):
        self.slide = slide


def write_map(run, slide, colour, ink=0.0):
    foreground = Foreground(np.ones((4, 5), bool), 16, 0.05, colour, ink)
    run.results.foreground(slide).parent.mkdir(parents=True, exist_ok=True)
    save_foreground(run.results.foreground(slide), foreground, Record(slide))


def page_of(run, folder):
    (folder / "slides.tsv").write_text("slide\timage\tsplit\n")
    origin = provenance(run, folder / "slides.tsv", folder)
    return render(run, ReportOptions(), origin)


def test_slides_unlike_training_come_before_the_scores_and_in_the_list(tmp_path):
    run = run_of(tmp_path)
    for slide, colour in (("a", COMMON), ("b", COMMON), ("c", BLUE), ("d", BLUE)):
        write_map(run, slide, colour)
    found = unlike_slides(run, tissue_facts(run))
    assert list(found) == ["c"]  # d is excluded
    assert found["c"].startswith("colours unlike every training slide: distance 7.2 from")
    page = page_of(run, tmp_path)
    shown = Page(page)
    assert {"unlike", "list"} <= shown.ids
    assert shown.text.count(found["c"]) == 2
    assert page.index('id="unlike"') < page.index('id="list"')


def test_the_section_is_left_out_where_no_slide_is_unlike_training(tmp_path):
    run = run_of(tmp_path)
    for slide in ("a", "b", "c"):
        write_map(run, slide, COMMON)
    assert unlike_slides(run, tissue_facts(run)) == {}
    assert "unlike" not in Page(page_of(run, tmp_path)).ids


def test_ink_in_the_map_is_listed_in_place_of_the_warning_of_check(tmp_path):
    run = run_of(tmp_path)
    for slide, ink in (("a", 0.1234), ("b", 0.0004), ("c", 0.0)):
        write_map(run, slide, COMMON, ink)
    record = run.results.record("a")
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps({"warnings": [ink_sentence(0.08), "something else"]}))
    text = Page(page_of(run, tmp_path)).text
    assert "ink of a pen or a dark edge on 12.3 % of what is stained" in text
    assert "something else" in text
    assert "8.0 %" not in text
    assert text.count("ink of a pen") == text.count("something else")  # slides a alone
