"""What the Snakemake workflow catalogue looks for."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SMK = [ROOT / "workflow" / "Snakefile", *sorted((ROOT / "workflow" / "rules").glob("*.smk"))]


def test_the_catalogue_is_reported_how_the_workflow_is_deployed():
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    contained = "\ncontainer:" in SMK[0].read_text()
    assert usage["software-stack-deployment"] == {
        "conda": False,
        "apptainer": contained,
        "apptainer+conda": False,
    }
    assert usage["report"] is True
    assert set(usage["mandatory-flags"]) == {"desc", "flags"}


@pytest.mark.parametrize(
    "file",
    ["README.md", "LICENSE", "config/README.md", "config/config.yaml", "workflow/Snakefile"],
)
def test_the_files_that_it_shows_are_there(file):
    assert (ROOT / file).stat().st_size > 300


def test_every_caption_is_used_and_every_used_one_is_there():
    text = "".join(file.read_text() for file in SMK)
    used = set(re.findall(r'(?:caption=|report: )"(?:\.\./)?report/(\w+\.rst)"', text))
    assert used == {file.name for file in (ROOT / "workflow" / "report").glob("*.rst")}


def test_what_is_in_snakemakes_report_has_caption_and_category():
    text = "".join(file.read_text() for file in SMK)
    used = {
        word: len(re.findall(rf"\b{word}", text)) for word in (r"report\(", "caption=", "category=")
    }
    assert min(used.values()) == max(used.values()) > 10
