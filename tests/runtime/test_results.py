"""The paths of a run's files are those that the rules of the workflow write."""

import re
from pathlib import Path

import pytest

from holohisto.runtime.results import Results

RULES = Path(__file__).parents[2] / "workflow" / "rules"
RESULTS = Results()
PATHS = {
    "check": RESULTS.record("{slide}"),
    "foreground": RESULTS.foreground("{slide}"),
    "tokenizer": RESULTS.tokenizer,
    "tokens": RESULTS.tokens("{slide}"),
    "train": RESULTS.segmenter("{model}"),
    "infer": RESULTS.labels("{model}", "{slide}"),
    "adopt": RESULTS.labels("{model}", "{slide}"),
    "mask": RESULTS.mask("{model}", "{slide}", "{name}"),
    "metrics": RESULTS.metrics("{model}", "{slide}"),
    "cohort": RESULTS.scores,
}


def outputs(rule: str) -> set[str]:
    """The texts within the section `output` of a rule, as Snakemake expands them."""
    section = re.search(
        r"    output:\n(.*?)\n    \w+:\n", (RULES / f"{rule}.smk").read_text(), re.S
    )
    assert section is not None
    texts = re.findall(r'"([^"]*)"', section[1])
    return {text.replace("{{", "{").replace("}}", "}").replace("{kind}", ".tif") for text in texts}


@pytest.mark.parametrize("rule", PATHS)
def test_every_path_is_an_output_of_its_rule(rule):
    assert str(PATHS[rule]) in outputs(rule)


def test_every_path_lies_in_the_folder():
    elsewhere = Results("/runs/a")
    assert elsewhere.record("s") == Path("/runs/a/check/s.json")
    assert elsewhere.mask("m", "s", "tuft") == Path("/runs/a/models/m/masks/s_tuft.tif")
    assert elsewhere.scores == Path("/runs/a/cohort/slides.tsv")
