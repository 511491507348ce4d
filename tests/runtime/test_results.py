"""The paths of a run's files are those that the rules of the workflow write."""

import re
from pathlib import Path

import pytest

from holohisto.runtime.results import Results

RULES = Path(__file__).parents[2] / "workflow" / "rules"
RESULTS = Results()
SLIDE, MODEL = "{slide}", "{model}"
PATHS = [
    ("check", RESULTS.record(SLIDE)),
    ("foreground", RESULTS.foreground(SLIDE)),
    ("foreground", RESULTS.foreground_picture(SLIDE)),
    ("tokenizer", RESULTS.tokenizer),
    ("tokenizer", RESULTS.tokenizer_training),
    ("tokenizer", RESULTS.reconstruction),
    ("tokens", RESULTS.tokens(SLIDE)),
    ("tokens", RESULTS.token_quality(SLIDE)),
    ("tokens", RESULTS.token_picture(SLIDE)),
    ("train", RESULTS.segmenter(MODEL)),
    ("train", RESULTS.training(MODEL)),
    ("token_value", RESULTS.token_value(MODEL)),
    ("infer", RESULTS.labels(MODEL, SLIDE)),
    ("infer", RESULTS.inference(MODEL, SLIDE)),
    ("adopt", RESULTS.labels(MODEL, SLIDE)),
    ("infer", RESULTS.probability(MODEL, SLIDE)),
    ("mask", RESULTS.mask(MODEL, SLIDE, "{name}")),
    ("mask", RESULTS.mask_objects(MODEL, SLIDE)),
    ("mask", RESULTS.geojson(MODEL, SLIDE)),
    ("mask", RESULTS.overlay(MODEL, SLIDE)),
    ("metrics", RESULTS.metrics(MODEL, SLIDE)),
    ("cohort", RESULTS.scores),
    *(("cohort", RESULTS.table(name)) for name in ("groups", "comparisons", "objects")),
    ("cohort", RESULTS.table("distributions")),
    ("gallery", RESULTS.gallery),
    ("gallery", RESULTS.correct_next),
]


def outputs(rule: str) -> set[str]:
    """The texts within the section `output` of a rule, as Snakemake expands them."""
    section = re.search(
        r"    output:\n(.*?)\n    \w+:\n", (RULES / f"{rule}.smk").read_text(), re.S
    )
    assert section is not None
    texts = re.findall(r'"([^"]*)"', section[1])
    return {text.replace("{{", "{").replace("}}", "}").replace("{kind}", ".tif") for text in texts}


@pytest.mark.parametrize(("rule", "path"), PATHS)
def test_every_path_is_an_output_of_its_rule(rule, path):
    assert str(path) in outputs(rule)


@pytest.mark.parametrize("job", ["tokens/{slide}", "train/{model}", "infer/{model}/{slide}"])
def test_the_benchmark_is_that_of_the_rule(job):
    text = (RULES / f"{job.split('/')[0]}.smk").read_text()
    assert f'    benchmark:\n        "{RESULTS.benchmark(job)}"\n' in text


def test_every_path_lies_in_the_folder():
    elsewhere = Results("/runs/a")
    assert elsewhere.record("s") == Path("/runs/a/check/s.json")
    assert elsewhere.mask("m", "s", "tuft") == Path("/runs/a/models/m/masks/s_tuft.tif")
    assert elsewhere.scores == Path("/runs/a/cohort/slides.tsv")
