"""A model whose training starts from a segmenter that was trained before."""

import shutil

import pytest
from planned_jobs import edit, planned
from starter_files import write_tokenizer
from tiny_cohort import CONFIG, snakemake, write_config

from holohisto.segmenter.card import load_card, load_weights

pytestmark = pytest.mark.workflow
SEGMENTER = "results/models/holohisto/segmenter.safetensors"


def configure(folder, **options):
    model = {**CONFIG["models"]["holohisto"], "pretrained": "start.safetensors", **options}
    tokenizer = {"checkpoint": "tokenizer.safetensors"}
    write_config(folder, tokenizer=tokenizer, models={"holohisto": model}, train={"steps": 2})


def test_training_starts_from_it_and_runs_again_with_it(copy):
    shutil.copy(copy / SEGMENTER, copy / "start.safetensors")
    shutil.copy(copy / "results/tokenizer/tokenizer.safetensors", copy / "tokenizer.safetensors")
    configure(copy)
    assert {"tokenizer", "train holohisto"} <= planned(copy)
    snakemake(copy, "--cores", "2", SEGMENTER)
    summary = load_card(copy / SEGMENTER).summary
    assert summary["pretrained"] == "pretrained: start.safetensors"
    assert summary["pretrained_digest"] == load_weights(copy / "start.safetensors")[2]
    metrics = "results/models/holohisto/metrics/e1.json"
    snakemake(copy, "--cores", "2", metrics)
    assert '"pretrained": "pretrained: start.safetensors"' in (copy / metrics).read_text()
    assert planned(copy, SEGMENTER) == set()
    edit(copy / "start.safetensors")
    assert planned(copy, SEGMENTER) == {"train holohisto"}


def test_another_tokenizer_is_refused_before_anything_runs(copy):
    shutil.copy(copy / SEGMENTER, copy / "start.safetensors")
    write_tokenizer(copy / "tokenizer.safetensors", seed=5)
    configure(copy, size="S")
    done = snakemake(copy, "--cores", "1", check=False)
    assert done.returncode == 2
    assert "config: models.holohisto.pretrained: segmenter was trained with another size" in (
        done.stdout
    )
    configure(copy)
    done = snakemake(copy, "-n", check=False)
    assert done.returncode == 2
    assert "segmenter reads the tokens of another tokenizer (found " in done.stdout
