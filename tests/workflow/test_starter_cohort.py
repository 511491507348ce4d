"""A cohort without annotations, segmented with the starter on the first day."""

import json

import numpy as np
import openslide
import pytest
from planned_jobs import planned
from starter_files import write_starter
from tiny_cohort import ROOT, paint, snakemake

from holohisto.cli import main
from holohisto.config.parsing import parse_config, read_config
from holohisto.config.starter import SETTINGS
from holohisto.pyramid.write import write_slide_pyramid
from holohisto.segmenter.card import load_weights

CONFIG = ROOT / "config" / "starter.yaml"


def test_the_configuration_is_that_of_the_verb_segment():
    settings, own = read_config(CONFIG), parse_config(SETTINGS)
    assert (settings.infer, settings.mask) == (own.infer, own.mask)
    assert (settings.foreground, settings.tokens.mode) == (own.foreground, own.tokens.mode)


@pytest.mark.workflow
def test_unannotated_slides_are_segmented_and_nothing_is_trained(tmp_path, monkeypatch):
    starter = write_starter(tmp_path / "starter", bias=50, mpp=1.0)
    monkeypatch.setenv("HOLOHISTO_STARTER", str(starter))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "run"
    (folder / "config").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    for seed, slide in enumerate(("a", "b")):
        write_slide_pyramid(tmp_path / "data" / f"{slide}.tif", paint(seed)[0], 0.5)
    monkeypatch.chdir(folder)
    assert main(["init", "folder", str(tmp_path / "data")]) == 0
    words = ("--configfile", CONFIG, "--cores", "2")
    jobs = planned(folder, *words)
    assert {"tokenizer", "infer starter a", "mask starter b", "report"} <= jobs
    assert not [job for job in jobs if job.startswith(("train", "metrics", "token_value"))]
    snakemake(folder, *words)
    for slide in ("a", "b"):
        with openslide.OpenSlide(
            str(folder / f"results/models/starter/masks/{slide}_glomerulus.tif")
        ) as mask:
            assert mask.dimensions == (700, 530)
            assert np.asarray(mask.read_region((350, 265), 0, (1, 1)))[0, 0, 0] == 255
    provenance = json.loads((folder / "results/cohort/provenance.json").read_text())
    used = provenance["segmenters"]["starter"]
    assert used["file"] == str(starter / "segmenter.safetensors")
    assert used["digest"] == load_weights(starter / "segmenter.safetensors")[2]
    assert planned(folder, *words) == set()
