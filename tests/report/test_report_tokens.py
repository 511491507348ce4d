"""Tokens in the report: numbers and flags of each slide."""

import json
import math

import pytest
import report_fixture
from PIL import Image
from report_cohort import FEW_CODES, OFF_STAIN
from report_page import Page, make, render, run_of, shared
from token_records import USUAL, run_with

from holohisto.report import failures
from holohisto.report.results import Run
from holohisto.report.tables.tokens import by_psnr, qualities, token_table, tokenizer_words


def table_of(run: Run):
    made = token_table(qualities(run))
    assert made is not None
    return made


def words(run: Run) -> dict[str, tuple[str, bool]]:
    return {line.name: (line.words, line.flagged) for line in table_of(run).lines}


def test_a_line_holds_the_numbers_of_its_slide(tmp_path):
    table = table_of(run_with(tmp_path, {"variants": 8, "bytes": 2.5e9}, {"psnr": 26.0}))
    assert table.titles == [
        "PSNR",
        "SSIM",
        "Codes in use",
        "Perplexity",
        "Effective rank",
        "Tokens kept",
        "Native agreement",
        "Time",
        "Token map",
    ]
    assert [title for title, _ in table.meanings] == table.titles
    line = table.lines[0]
    assert (line.name, line.encoded) == ("s0", "frozen, fp32, 8 variants")
    assert [(cell.text, cell.spread) for cell in line.cells] == [
        ("25.0", ""),
        ("0.71", ""),
        ("600", "59 %"),
        ("300", ""),
        ("4.3", "of 5"),
        ("74.5 %", ""),
        ("60.0 %", ""),
        ("61 s", "4.2 s reading"),
        ("2.5 GB", ""),
    ]
    assert table.lines[1].cells[-1].text == "0.04 MB"
    assert table.lines[1].encoded == "frozen, fp32, 1 variant"
    assert table.median is not None
    assert (table.median.name, table.median.encoded) == ("Median", "2 slides")
    assert table.median.cells[0].text == "25.5"


def test_columns_that_no_slide_has_are_left_out(tmp_path):
    window = {"mode": "window", "native_agreement": None, "precision_agreement": 0.9312}
    table = table_of(run_with(tmp_path, window, window))
    assert "Native agreement" not in table.titles
    assert table.lines[0].cells[table.titles.index("fp32 agreement")].text == "93.1 %"


def test_rank_and_share_of_tokens_kept_are_shown(tmp_path):
    measured = {"effective_rank": 12.44, "dimension": 16, "kept": 0.8312}
    table = table_of(
        run_with(tmp_path, measured, {"effective_rank": 9.0, "kept": 0.5, "dimension": None})
    )
    where = [table.titles.index(title) for title in ("Effective rank", "Tokens kept")]
    shown = {line.name: [line.cells[place] for place in where] for line in table.lines}
    assert [(cell.text, cell.spread) for cell in shown["s0"]] == [("12.4", "of 16"), ("83.1 %", "")]
    assert [(cell.text, cell.spread) for cell in shown["s1"]] == [("9.0", ""), ("50.0 %", "")]
    assert "independent directions" in dict(table.meanings)["Effective rank"]
    assert table.flagged == 0


@pytest.mark.parametrize(
    ("changes", "remark"),
    [
        ({"effective_rank": 4.0}, ""),
        ({"effective_rank": 3.99}, "codes collapse: they vary in 4.0 of 8 dimensions"),
        ({"kept": 0.5}, ""),
        ({"kept": 0.017}, "tokens change with the stain: 1.7 % stay the same under another one"),
        (
            {"effective_rank": 1.1, "kept": 0.0},
            "codes collapse: they vary in 1.1 of 8 dimensions;"
            " tokens change with the stain: 0.0 % stay the same under another one",
        ),
    ],
)
def test_collapsed_codes_and_tokens_of_the_stain_are_flagged(tmp_path, changes, remark):
    """Also of a single slide: they are judged by themselves, not by the median."""
    measured = {"effective_rank": 6.0, "dimension": 8, "kept": 0.8}
    assert words(run_with(tmp_path, measured | changes)) == {"s0": (remark, bool(remark))}


def test_the_tokenizers_training_has_its_rank_and_share_in_words(tmp_path):
    run = run_with(tmp_path, {})
    assert tokenizer_words(run) == ""
    path = run.results.tokenizer_training
    path.parent.mkdir(parents=True)
    path.write_text("step\teffective_rank\tkept\n50\t1.0\t0.1\n100\t3.44\t0.7216\n150\t\t\n")
    assert tokenizer_words(run) == (
        "When the tokenizer was trained, its codes had an effective rank of 3.4 and 72.2 % of its"
        " tokens stayed the same under another stain."
    )
    path.write_text("step\tkept\n50\t0.5\n")
    assert "trained, 50.0 % of its tokens stayed" in tokenizer_words(run)
    path.write_text("step\tloss\n50\t0.5\n")
    assert tokenizer_words(run) == ""


@pytest.mark.parametrize(
    ("changes", "remark"),
    [
        ({"psnr": 22.05}, ""),  # 2.99 dB below
        ({"psnr": 22.04}, "reconstructed less well than the others, 3.0 dB below the median"),
        ({"codes_used": 300}, ""),
        ({"codes_used": 299}, "few codes in use (median 600)"),
        ({"perplexity": 150.2}, ""),
        ({"perplexity": 150.1}, "a few codes make up most of it (median perplexity 300)"),
        ({"native_agreement": 0.3}, ""),
        (
            {"native_agreement": 0.29},
            "brightness or stain unlike the others (median native agreement 60.0 %)",
        ),
        (
            {"psnr": 19.0, "codes_used": 5},
            "reconstructed less well than the others, 6.0 dB below the median;"
            " few codes in use (median 600)",
        ),
    ],
)
def test_a_slide_is_flagged_far_below_the_median(tmp_path, changes, remark):
    run = run_with(tmp_path, {}, {}, changes)
    assert words(run) == {
        "s0": ("like the others", False),
        "s1": ("like the others", False),
        "s2": (remark or "like the others", bool(remark)),
    }
    assert table_of(run).flagged == bool(remark)


def test_agreement_by_chance_flags_nobody(tmp_path):
    """Tokenizers trained frozen gave 0.2 and 0.05 % on two demo slides."""
    shares = ({"native_agreement": 0.0999}, {"native_agreement": 0.0999}, {"native_agreement": 0.0})
    assert table_of(run_with(tmp_path, *shares)).flagged == 0
    shares = ({"native_agreement": 0.1}, {"native_agreement": 0.1}, {"native_agreement": 0.049})
    assert table_of(run_with(tmp_path, *shares)).flagged == 1


def test_a_small_slide_is_not_judged_by_its_codes(tmp_path):
    """5,999 tokens are fewer than ten for each of the 600 codes that the median slide uses."""
    small = {"codes_used": 100, "perplexity": 50, "tokens": 5999}
    assert words(run_with(tmp_path, {}, {}, small))["s2"] == (
        "like the others; too small to judge its codes",
        False,
    )
    assert words(run_with(tmp_path, {}, {}, small | {"psnr": 15.04}))["s2"] == (
        "reconstructed less well than the others, 10.0 dB below the median;"
        " too small to judge its codes",
        True,
    )
    assert words(run_with(tmp_path, {}, {}, small | {"tokens": 6000}))["s2"][1] is True


def test_flagged_slides_come_first_then_the_lowest_likeness(tmp_path):
    run = run_with(
        tmp_path,
        {"psnr": 27.0},
        {"psnr": 26.0, "perplexity": 3},
        {"psnr": None},
        {"psnr": 25.0},
        {"psnr": 20.0},
    )
    assert [line.name for line in table_of(run).lines] == ["s4", "s1", "s3", "s0", "s2"]
    assert [row.slide for row in by_psnr(qualities(run))] == ["s4", "s3", "s1", "s0", "s2"]


def test_a_single_slide_has_nothing_to_be_compared_with(tmp_path):
    table = table_of(run_with(tmp_path, {}))
    assert (table.median, table.flagged, table.lines[0].words) == (None, 0, "")


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        (
            {"codes_used": 512},
            "Half of the slides use 512 or more of 1\u202f024 codes (50 %): the"
            " codebook is in use.",
        ),
        (
            {"codes_used": 511},
            "Half of the slides use 511 or more of 1\u202f024 codes (50 %): the"
            " codebook represents this stain in part; the rest of it is unused.",
        ),
        (
            {"codes_used": 1639, "codebook": 16384, "tokens": 16390},
            "Half of the slides use"
            " 1\u202f639 or more of 16\u202f384 codes (10 %): the codebook represents this stain"
            " in part; the rest of it is unused.",
        ),
        (
            {"codes_used": 700, "codebook": 16384},
            "Half of the slides use 700 or more of"
            " 16\u202f384 codes (4 %): most of the codebook is unused for this stain. A"
            " tokenizer trained on your own slides would represent it better (leave"
            " tokenizer.checkpoint empty).",
        ),
        (
            {"codes_used": 700, "codebook": 16384, "tokens": 6999},
            "Half of the slides use 700 or"
            " more of 16\u202f384 codes (4 %), but are too small to judge whether the codebook"
            " represents this stain.",
        ),
        ({"codes_used": None}, ""),
        ({"codebook": 0}, ""),
    ],
)
def test_the_verdict_on_the_codebook(tmp_path, changes, verdict):
    assert table_of(run_with(tmp_path, changes, changes)).verdict == verdict


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"psnr": "high", "ssim": True, "codes_used": [3], "mode": None},
        {"psnr": math.inf, "perplexity": math.nan, "codebook": None, "reading_seconds": None},
    ],
)
def test_numbers_that_are_none_leave_a_gap(tmp_path, broken):
    run = run_with(tmp_path, {}, {}, {})
    path = tmp_path / "results/tokens/s2.json"
    kept = {"slide": "s2"} if not broken else USUAL | broken
    path.write_text(json.dumps(kept))
    table = table_of(run)
    assert table.lines[-1].name == "s2"
    assert table.lines[-1].cells[0].text == "–"
    assert table.median is not None
    assert table.median.cells[0].text == "25.0"


def test_the_page_shows_table_pictures_and_what_they_mean(tmp_path):
    html = render(report_fixture.build(tmp_path, side=560))
    text = Page(html).text
    assert (
        "Half of the slides use 906 or more of 1 024 codes (88 %): the codebook is in use." in text
    )
    assert "2 of 14 slides are flagged in the table below." in text
    off, few = OFF_STAIN, FEW_CODES
    assert (
        f"{off} frozen, bf16, 8 variants reconstructed less well than the others, 5.3 dB below"
        in text
    )
    assert f"{few} frozen, bf16, 1 variant few codes in use (median 906); a few codes" in text
    assert f"{off} lowest PSNR" in text
    assert "median PSNR The lower row is" in text
    meaning = "Share of tokens that are the same in the slower, more exact fp32 arithmetic."
    assert f"fp32 agreement {meaning}" in text
    assert "flagged if its PSNR is 3 dB or more below" in text
    section = html.split('<section id="tokens">')[1].split("</section>")[0]
    assert section.count("<img") == 2
    assert len(section) < 220_000


def test_older_runs_show_the_tokenizers_picture_instead(tmp_path):
    run = tmp_path / "run"
    results = run / "results"
    (results / "tokenizer").mkdir(parents=True)
    (run / "slides.tsv").write_text("slide\timage\tsplit\na\ta.tiff\tpredict\n")
    Image.new("RGB", (340, 120), "pink").save(results / "tokenizer/reconstruction.jpg")
    html = render(run)
    section = html.split('<section id="tokens">')[1].split("</section>")[0]
    assert section.count("<img") == 1
    assert "The upper row shows tiles of the training slides" in section
    assert "<table" not in section
    assert "mode online" not in section
    html = render(run, parameters='{"tokens": {"mode": "online"}}')
    assert "In mode online no token maps are kept" in Page(html).text


def test_online_and_cohorts_without_tokens_miss_no_token_maps(tmp_path):
    """A run of colour thresholds alone once reported that its tokens had failed."""
    for changes in (
        {"parameters": {"tokens": {"mode": "online"}}},
        {"models": {"m": {"kind": "colour_threshold", "weights": None}}},
    ):
        run = run_of(tmp_path, **changes)
        make(tmp_path, *shared("a")[:2])
        assert failures.outcomes(run)["a"].word == "done"
    assert [failure.stage for failure in failures.cohort_failures(run)] == ["train"]
    assert failures.outcomes(run_of(tmp_path))["a"].failures[0].stage == "tokens"
