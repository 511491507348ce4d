"""Time, memory and inference in the report."""

import math
import re

import report_cohort
import report_fixture
from report_page import Page, run_of

from holohisto import cli
from holohisto.report import words
from holohisto.report.tables import cost, inference


def test_benchmarks_with_gaps_and_repeats(tmp_path):
    path = tmp_path / "results/benchmarks/tokens/b.tsv"
    path.parent.mkdir(parents=True)
    path.write_text("s\th:m:s\tmax_rss\n2.0\t0:00:02\t-\n4.0\t0:00:04\t1500\n")
    path = tmp_path / "results/benchmarks/infer/m/b.tsv"
    path.parent.mkdir(parents=True)
    path.write_text("s\th:m:s\tmax_rss\n7.5\t0:00:07\tNA\n")
    (line,) = cost.slide_lines(run_of(tmp_path))
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
    (line,) = cost.slide_lines(run_of(tmp_path))
    assert len(line.cells) == len(jobs)
    for job, (_, _, (seconds, megabytes)) in jobs.items():
        step = line.cells[job.replace("/", " ")]
        assert step.seconds == seconds
        assert math.isnan(step.megabytes) if megabytes is None else step.megabytes == megabytes
    assert words.memory(line.cells["infer m"].megabytes) == "–"


def test_a_job_that_failed_or_left_nothing_costs_nothing(tmp_path):
    path = tmp_path / "logs/check/b.log"
    path.parent.mkdir(parents=True)
    path.write_text("10:00:00 ERROR no\n")
    assert cost.slide_lines(run_of(tmp_path)) == []


def test_a_verb_logs_time_and_peak_that_the_report_understands(folder, tmp_path):
    words = ["--log", str(tmp_path / "cohort/cohort.log")]
    assert cli.main(words + report_fixture.arguments(folder)["cohort"]) == 0
    (line,) = cost.cohort_lines(run_of(tmp_path, logs=tmp_path))
    assert line.name == "cohort"
    assert 0 <= line.seconds < 60
    assert 50 < line.megabytes < 20_000  # Python with numpy, in MB


def test_inference_shows_bottleneck_and_seams(html, folder):
    text = Page(html).text
    facts = sorted(folder.glob("results/models/*/labels/*.json"))
    assert len(facts) > 10
    assert f"The bottleneck is “model” in {len(facts) - 2} of {len(facts)} inferences." in text
    assert "In 2 of them overlapping tiles disagree by 5 % or more." in text
    start = f"{report_cohort.READ_SLOWLY}<small>holo"
    row = next(part for part in html.split("<tr>") if start in part)
    words = [cell.strip() for cell in re.sub("<[^>]*>", "|", row).split("|") if cell.strip()]
    assert words[1:] == [
        "holohisto, x86_64 CPU",
        "read",
        "1 min 38 s, 3 bands resumed",
        "15 min 00 s",
        "0.0 s",
        "1 min 30 s",
        "4.0 s",
        "31 s",
        "9.0 %",
        "25 % of 40",
    ]


def test_masks_from_elsewhere_have_no_inference(tmp_path):
    assert inference.inference(run_of(tmp_path)) is None
