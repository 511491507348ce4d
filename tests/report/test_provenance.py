import hashlib
import json

import numpy as np
from report_page import run_of
from safetensors.numpy import save_file

from holohisto import __version__
from holohisto.report.provenance import Reason, counted, provenance, reasons

LOG = """\
Job stats:
[Tue Nov 24 00:48:42 2026]
localrule check:
    input: slides/a b.tif
    output: results/check/a.json
    jobid: 6
    reason: Missing output files: results/check/a.json
    wildcards: slide=a
    resources: tmpdir=/tmp
Shell command: None
[Tue Nov 24 00:48:43 2026]
rule infer:
    jobid: 7
    reason: Params have changed since last execution: Union of exclusive params
    wildcards: model=m, slide=b
[Tue Nov 24 00:48:44 2026]
Finished jobid: 6 (Rule: check)
rule cohort:
    reason: Input files updated by another job: results/models/m/metrics/b.json
"""


GROUPED = """\
[Tue Nov 24 00:48:42 2026]
group job deliver (jobs in lexicogr. order):
    [Tue Nov 24 00:48:42 2026]
    rule mask:
        input: results/models/m/labels/b.tif
        jobid: 3
        reason: Missing output files: results/models/m/masks/b.json
        wildcards: model=m, slide=b
        resources: tmpdir=/tmp
    [Tue Nov 24 00:48:42 2026]
    rule metrics:
        jobid: 4
        reason: Input files updated by another job: results/models/m/masks/b.json
        wildcards: model=m, slide=b
[Tue Nov 24 00:48:44 2026]
rule cohort:
    reason: Forced execution
"""


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_reasons_are_those_of_the_latest_log(tmp_path):
    write(tmp_path / "2026-11-24T004841.6.snakemake.log", LOG)
    write(tmp_path / "2026-11-23T235959.9.snakemake.log", LOG.replace("infer", "mask"))
    assert reasons(tmp_path) == [
        Reason("check", "slide=a", "Missing output files: results/check/a.json"),
        Reason(
            "infer",
            "model=m, slide=b",
            "Params have changed since last execution: Union of exclusive params",
        ),
        Reason("cohort", "", "Input files updated by another job: results/models/m/metrics/b.json"),
    ]
    assert reasons(tmp_path / "absent") == []


def test_jobs_of_a_group_are_told_one_by_one(tmp_path):
    write(tmp_path / "2026-11-24T004841.6.snakemake.log", GROUPED)
    assert [(job.rule, job.wildcards) for job in reasons(tmp_path)] == [
        ("mask", "model=m, slide=b"),
        ("metrics", "model=m, slide=b"),
        ("cohort", ""),
    ]
    assert reasons(tmp_path)[1].reason.startswith("Input files updated")


def test_kinds_of_reasons_are_counted_most_first():
    jobs = [{"rule": "check", "reason": f"Missing output files: {n}"} for n in range(3)]
    jobs.insert(0, {"rule": "cohort", "reason": "Forced execution"})
    assert counted(jobs) == [
        ("check", "Missing output files", 3),
        ("cohort", "Forced execution", 1),
    ]


def test_it_tells_software_data_and_weights(tmp_path):
    run = run_of(tmp_path, parameters={"seed": 3})
    check = {"image": "a.tiff", "fingerprint": "f" * 64, "reader": "cucim", "size": [3, 5]}
    write(tmp_path / "results/check/a.json", json.dumps(check))
    write(tmp_path / "results/models/m/labels/b.json", json.dumps({"device": "NVIDIA H200"}))
    write(tmp_path / "results/models/m/labels/c.json", json.dumps({"device": "NVIDIA H200"}))
    (tmp_path / "results/tokenizer").mkdir()
    for name, header in {
        "tokenizer/tokenizer": {"digest": "t" * 64},
        "models/m/segmenter": {"digest": "s" * 64, "tokenizer": "t" * 64},
    }.items():
        path = tmp_path / "results" / f"{name}.safetensors"
        save_file({"x": np.zeros(1)}, path, metadata=header)
    sheet = tmp_path / "slides.tsv"
    sheet.write_text("slide\timage\n")
    write(tmp_path / "log/2026-11-24T004841.6.snakemake.log", LOG)

    found = provenance(run, sheet, tmp_path / "log")

    assert found["holohisto"] == __version__
    assert found["versions"]["numpy"] == np.__version__
    assert found["configuration"] == {"seed": 3}
    assert found["sheet"]["sha256"] == hashlib.sha256(b"slide\timage\n").hexdigest()
    assert list(found["slides"]) == ["a"]
    assert found["slides"]["a"]["fingerprint"] == "f" * 64
    assert found["tokenizer"] == "t" * 64
    assert found["segmenters"]["m"]["digest"] == "s" * 64
    assert found["segmenters"]["m"]["tokenizer"] == "t" * 64
    assert found["devices"] == ["NVIDIA H200"]
    assert [job["rule"] for job in found["jobs"]] == ["check", "infer", "cohort"]
    json.dumps(found)


def test_a_run_that_failed_early_has_a_provenance_too(tmp_path):
    sheet = tmp_path / "slides.tsv"
    sheet.write_text("")
    found = provenance(run_of(tmp_path), sheet, tmp_path / "log")
    assert (found["slides"], found["tokenizer"], found["segmenters"]) == ({}, None, {})
    assert (found["devices"], found["jobs"]) == ([], [])
