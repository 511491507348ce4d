"""The report on tokens: what is told and flagged of each slide, from its numbers."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import report_fixture
from PIL import Image
from report_fixture import Page, make, render, run_of, shared

from holohisto.report import failures
from holohisto.report.pictures.picture import Picture
from holohisto.report.pictures.rebuilt import Rebuilt, gain_over_plain, rebuilt
from holohisto.report.results import Run
from holohisto.report.tables.tokens import by_likeness, qualities, token_table
from holohisto.sheet.cells import Row

USUAL = {
    "mode": "frozen",
    "precision": "fp32",
    "variants": 1,
    "tokens": 10_000,
    "size_tokens": [45, 31],
    "codebook": 1024,
    "codes_used": 600,
    "perplexity": 300.4,
    "psnr": 25.04,
    "ssim": 0.706,
    "native_agreement": 0.6,
    "precision_agreement": None,
    "seconds": 61.0,
    "reading_seconds": 4.25,
    "bytes": 40_000,
}


def told(tmp_path: Path, *slides: dict) -> Run:
    """A run over slides s0, s1 ..., with what differs from the usual."""
    rows = {f"s{n}": Row(f"s{n}", tmp_path / f"s{n}.tiff", "test") for n in range(len(slides))}
    tokens = tmp_path / "results/tokens"
    tokens.mkdir(parents=True, exist_ok=True)
    for slide, changes in zip(rows, slides, strict=True):
        (tokens / f"{slide}.json").write_text(json.dumps(USUAL | changes))
    return run_of(tmp_path, rows=rows)


def table_of(run: Run):
    made = token_table(qualities(run))
    assert made is not None
    return made


def words(run: Run) -> dict[str, tuple[str, bool]]:
    return {line.name: (line.words, line.flagged) for line in table_of(run).lines}


def test_a_line_tells_the_numbers_of_its_slide(tmp_path):
    table = table_of(told(tmp_path, {"variants": 8, "bytes": 2.5e9}, {"psnr": 26.0}))
    assert table.titles == [
        "PSNR",
        "SSIM",
        "Codes in use",
        "Perplexity",
        "Same alone",
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
    table = table_of(told(tmp_path, window, window))
    assert "Same alone" not in table.titles
    assert table.lines[0].cells[table.titles.index("Same in fp32")].text == "93.1 %"


@pytest.mark.parametrize(
    ("changes", "remark"),
    [
        ({"psnr": 22.05}, ""),  # 2.99 dB below
        ({"psnr": 22.04}, "rebuilt less well than the others, 3.0 dB below the median"),
        ({"codes_used": 300}, ""),
        ({"codes_used": 299}, "few codes in use (median 600)"),
        ({"perplexity": 150.2}, ""),
        ({"perplexity": 150.1}, "a few codes stand for most of it (median perplexity 300)"),
        ({"native_agreement": 0.3}, ""),
        (
            {"native_agreement": 0.29},
            "light or stain unlike the others' (median same alone 60.0 %)",
        ),
        (
            {"psnr": 19.0, "codes_used": 5},
            "rebuilt less well than the others, 6.0 dB below the median;"
            " few codes in use (median 600)",
        ),
    ],
)
def test_a_slide_is_flagged_far_below_the_median(tmp_path, changes, remark):
    run = told(tmp_path, {}, {}, changes)
    assert words(run) == {
        "s0": ("like the others", False),
        "s1": ("like the others", False),
        "s2": (remark or "like the others", bool(remark)),
    }
    assert table_of(run).flagged == bool(remark)


def test_agreement_by_chance_flags_nobody(tmp_path):
    """Tokenizers trained frozen gave 0.2 and 0.05 % on two demo slides."""
    shares = ({"native_agreement": 0.0999}, {"native_agreement": 0.0999}, {"native_agreement": 0.0})
    assert table_of(told(tmp_path, *shares)).flagged == 0
    shares = ({"native_agreement": 0.1}, {"native_agreement": 0.1}, {"native_agreement": 0.049})
    assert table_of(told(tmp_path, *shares)).flagged == 1


def test_a_small_slide_is_not_judged_by_its_codes(tmp_path):
    """5,999 tokens are fewer than ten for each of the 600 codes that the median slide uses."""
    small = {"codes_used": 100, "perplexity": 50, "tokens": 5999}
    assert words(told(tmp_path, {}, {}, small))["s2"] == (
        "like the others; too small to judge its codes",
        False,
    )
    assert words(told(tmp_path, {}, {}, small | {"psnr": 15.04}))["s2"] == (
        "rebuilt less well than the others, 10.0 dB below the median; too small to judge its codes",
        True,
    )
    assert words(told(tmp_path, {}, {}, small | {"tokens": 6000}))["s2"][1] is True


def test_flagged_slides_come_first_then_the_lowest_likeness(tmp_path):
    run = told(
        tmp_path,
        {"psnr": 27.0},
        {"psnr": 26.0, "perplexity": 3},
        {"psnr": None},
        {"psnr": 25.0},
        {"psnr": 20.0},
    )
    assert [line.name for line in table_of(run).lines] == ["s4", "s1", "s3", "s0", "s2"]
    assert [one.slide for one in by_likeness(qualities(run))] == ["s4", "s3", "s1", "s0", "s2"]


def test_a_single_slide_has_nothing_to_be_compared_with(tmp_path):
    table = table_of(told(tmp_path, {}))
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
            " codebook knows this stain in part, the rest of it lies idle.",
        ),
        (
            {"codes_used": 1639, "codebook": 16384, "tokens": 16390},
            "Half of the slides use"
            " 1\u202f639 or more of 16\u202f384 codes (10 %): the codebook knows this stain in"
            " part,"
            " the rest of it lies idle.",
        ),
        (
            {"codes_used": 700, "codebook": 16384},
            "Half of the slides use 700 or more of"
            " 16\u202f384 codes (4 %): most of the codebook knows nothing of this stain. One"
            " trained"
            " on your own slides would (leave tokenizer.checkpoint empty).",
        ),
        (
            {"codes_used": 700, "codebook": 16384, "tokens": 6999},
            "Half of the slides use 700 or"
            " more of 16\u202f384 codes (4 %), but are too small to tell whether the codebook knows"
            " this stain.",
        ),
        ({"codes_used": None}, ""),
        ({"codebook": 0}, ""),
    ],
)
def test_the_verdict_on_the_codebook(tmp_path, changes, verdict):
    assert table_of(told(tmp_path, changes, changes)).verdict == verdict


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"psnr": "high", "ssim": True, "codes_used": [3], "mode": None},
        {"psnr": math.inf, "perplexity": math.nan, "codebook": None, "reading_seconds": None},
    ],
)
def test_numbers_that_are_none_leave_a_gap(tmp_path, broken):
    run = told(tmp_path, {}, {}, {})
    path = tmp_path / "results/tokens/s2.json"
    kept = {"slide": "s2"} if not broken else USUAL | broken
    path.write_text(json.dumps(kept))
    table = table_of(run)
    assert table.lines[-1].name == "s2"
    assert table.lines[-1].cells[0].text == "–"
    assert table.median is not None
    assert table.median.cells[0].text == "25.0"


def squares(path: Path, original: np.ndarray, again: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate([original, again])).save(path, "PNG")


def test_the_gain_is_over_a_mosaic_of_mean_colours(tmp_path):
    """Stripes of 100 and 140: the mosaic is 120 everywhere and errs by 20, the rebuilt by 2."""
    original = np.full((52, 70, 3), 100, np.uint8)
    original[:, ::2] = 140
    squares(tmp_path / "a.png", original, original + np.uint8(2))
    assert gain_over_plain(tmp_path / "a.png", 16) == pytest.approx(20.0)
    squares(tmp_path / "b.png", original, np.full_like(original, 120))
    assert gain_over_plain(tmp_path / "b.png", 16) == pytest.approx(0.0)
    assert math.isnan(gain_over_plain(tmp_path / "a.png", 0))
    squares(tmp_path / "c.png", original, original)
    assert math.isnan(gain_over_plain(tmp_path / "c.png", 16))


def test_pictures_are_of_the_lowest_and_the_median_likeness(tmp_path):
    run = told(tmp_path, *({"psnr": float(value)} for value in (24, 20, 23, 22, 21, 26)))
    original, _ = report_fixture.pictures(340, np.random.default_rng(0))
    pixels = np.asarray(original)[:200, :300]
    for slide in ("s0", "s2", "s3", "s4", "s5"):  # the lowest, s1, has no picture
        squares(run.results / f"tokens/{slide}.jpg", pixels, pixels // 2)
    made = rebuilt(run, qualities(run), 100)
    assert [(one.slide, one.place) for one in made] == [
        ("s4", "lowest likeness"),
        ("s2", "median likeness"),
    ]
    assert (made[0].picture.width, made[0].picture.height) == (150, 200)
    assert [(math.isnan(one.gain), one.words) for one in made] == [(True, "")] * 2  # no check/
    (run.results / "check").mkdir()
    (run.results / "check/s4.json").write_text('{"working_size": [717, 489]}')  # 717 / 45 = 15.9
    (first, _) = rebuilt(run, qualities(run), 100)
    assert first.gain == pytest.approx(gain_over_plain(run.results / "tokens/s4.jpg", 16))
    assert first.words == (
        "The lower row is no closer to the upper than a mosaic with the mean colour of each token's"
        " square: these tokens tell little but colours."
    )
    squares(run.results / "tokens/s4.jpg", pixels, np.clip(pixels, 1, 254) + np.uint8(1))
    (first, _) = rebuilt(run, qualities(run), 100)
    assert first.gain > 10
    assert f"is {first.gain:.1f} dB closer to the upper than a mosaic" in first.words


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        (
            -2.0,
            "no closer to the upper than a mosaic with the mean colour of each token's square:"
            " these tokens tell little but colours.",
        ),
        (
            0.49,
            "no closer to the upper than a mosaic with the mean colour of each token's square:"
            " these tokens tell little but colours.",
        ),
        (
            0.5,
            "0.5 dB closer to the upper than a mosaic with the mean colour of each token's"
            " square, which is little: fine structures are blurred.",
        ),
        (
            3.0,
            "3.0 dB closer to the upper than a mosaic with the mean colour of each token's square.",
        ),
    ],
)
def test_the_gain_in_words(gain, words):
    one = Rebuilt("s", "", Picture("", 1, 1), gain)
    assert one.words == f"The lower row is {words}"


def test_one_or_two_slides_give_one_picture(tmp_path):
    pixels = np.full((20, 34, 3), 9, np.uint8)
    for slides in ([{}], [{}, {"psnr": 20.0}]):
        run = told(tmp_path, *slides)
        squares(run.results / f"tokens/s{len(slides) - 1}.jpg", pixels, pixels)
        (one,) = rebuilt(run, qualities(run), 100)
        assert one.slide == f"s{len(slides) - 1}"
    (run.results / "tokens/s1.jpg").write_text("no picture")
    (run.results / "tokens/s0.jpg").unlink()
    assert rebuilt(run, qualities(run), 100) == []


def test_the_page_shows_table_pictures_and_what_they_mean(tmp_path):
    html = render(report_fixture.build(tmp_path, side=560))
    text = Page(html).text
    assert (
        "Half of the slides use 906 or more of 1 024 codes (88 %): the codebook is in use." in text
    )
    assert "2 of 14 slides are flagged in the table below." in text
    off, few = report_fixture.OFF_STAIN, report_fixture.FEW_CODES
    assert f"{off} frozen, bf16, 8 variants rebuilt less well than the others, 5.3 dB below" in text
    assert f"{few} frozen, bf16, 1 variant few codes in use (median 906); a few codes" in text
    assert f"{off} lowest likeness" in text
    assert "median likeness The lower row is" in text
    assert "Same in fp32 Tokens that slower, exact arithmetic gives too." in text
    assert "flagged when its PSNR lies 3 dB or more below" in text
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
    assert "Tiles of the training slides are above" in section
    assert "<table" not in section
    assert "mode online" not in section
    html = render(run, parameters='{"tokens": {"mode": "online"}}')
    assert "In mode online no token maps are kept" in Page(html).text


def test_online_and_cohorts_without_tokens_miss_no_token_maps(tmp_path):
    """A run of colour thresholds alone was told that its tokens had failed."""
    for changes in (
        {"parameters": {"tokens": {"mode": "online"}}},
        {"models": {"m": {"kind": "colour_threshold", "weights": None}}},
    ):
        run = run_of(tmp_path, **changes)
        make(tmp_path, *shared("a")[:2])
        assert failures.outcomes(run)["a"].word == "done"
    assert [one.stage for one in failures.cohort_failures(run)] == ["train"]
    assert failures.outcomes(run_of(tmp_path))["a"].failures[0].stage == "tokens"
