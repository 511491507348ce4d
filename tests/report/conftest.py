"""Fabricated runs and their reports, shared by the tests of the report."""

import copy
import json

import pytest
import report_cohort
import report_fixture

from holohisto import cli
from holohisto.runtime.seal import read_sealed_json, sealed_json


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    folder = report_fixture.build(tmp_path_factory.mktemp("run"), side=700)
    assert cli.main(report_fixture.arguments(folder)["cohort"]) == 0
    assert cli.main(report_fixture.arguments(folder)["report"]) == 0
    return folder


@pytest.fixture(scope="session")
def html(folder):
    return (folder / "report.html").read_text()


@pytest.fixture(scope="session")
def compared(tmp_path_factory):
    """Rivals, variants and a second structure, whose scores are those of the first."""
    folder = report_fixture.build(
        tmp_path_factory.mktemp("compared"), slides=32, side=300, models=report_cohort.COMPARED
    )
    for path in folder.glob("results/models/*/metrics/*.json"):
        record = read_sealed_json(path)
        record["classes"]["tuft"] = copy.deepcopy(record["classes"]["glomerulus"])
        record["classes"]["tuft"]["foreground"]["dice"] /= 2
        path.write_text(sealed_json(record))
    classes = json.dumps({"glomerulus": {}, "tuft": {}})
    for line in report_fixture.arguments(folder, report_cohort.COMPARED).values():
        line[line.index("--classes") + 1] = classes
        assert cli.main(line) == 0
    return folder
