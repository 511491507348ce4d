"""Runs on models given from outside, and the online mode."""

import json
import shutil
from pathlib import Path

import numpy as np
import openslide
import pytest
from planned_jobs import (
    COHORT_STEPS,
    edit,
    planned,
)
from safetensors import safe_open
from tiny_cohort import (
    SIZE,
    SPLITS,
    make_folder,
    paint,
    row,
    snakemake,
    write_config,
    write_sheet,
    write_slide,
)

pytestmark = pytest.mark.workflow


def with_masks_from_elsewhere(folder: Path) -> None:
    """Add a model whose masks are the annotation of e1, and of e2 that with a small speck."""
    from PIL import Image

    (folder / "winner").mkdir()
    for seed, slide in enumerate(SPLITS):
        discs = paint(seed)[1]
        if slide == "e2":
            discs[5:8, 5:8] = True
        if SPLITS[slide] in ("test", "predict"):
            Image.fromarray(discs.astype(np.uint8) * 255).save(folder / f"winner/{slide}.png")
    winner = {"kind": "masks", "masks": "winner/{slide}.png"}
    write_config(folder, models={"winner": winner})


def test_masks_from_elsewhere_stand_as_a_model(copy):
    with_masks_from_elsewhere(copy)
    slides = ("e1", "e2", "p1")
    steps = [("adopt", slides), ("mask", slides), ("metrics", ("e1", "e2"))]
    expected = {f"{step} winner {slide}" for step, those in steps for slide in those}
    assert planned(copy) == expected | COHORT_STEPS
    snakemake(copy, "--cores", "2")
    results = copy / "results"
    scores = json.loads((results / "models/winner/metrics/e1.json").read_text())
    assert scores["classes"]["glomerulus"]["everywhere"]["dice"] == 1.0
    scores = json.loads((results / "models/winner/metrics/e2.json").read_text())
    assert scores["classes"]["glomerulus"]["everywhere"]["fp"] == 9  # no cleaning
    assert scores["classes"]["glomerulus"]["objects"]["fp"] == 1
    rows = (results / "cohort/comparisons.tsv").read_text().splitlines()
    assert any("\tholohisto\twinner\t" in row for row in rows)
    page = (results / "report.html").read_text()
    assert "winner" in page[page.index("<body") :]
    assert "not started" not in page
    edit(copy / "winner/e1.png")
    assert planned(copy) == {f"{step} winner e1" for step, _ in steps} | COHORT_STEPS


def test_missing_masks_from_elsewhere_are_reported_before_anything_runs(copy):
    with_masks_from_elsewhere(copy)
    (copy / "winner/e2.png").unlink()
    done = snakemake(copy, "--cores", "1", check=False)
    assert done.returncode == 2
    assert "config: models.winner.masks, slide e2: no such file: winner/e2.png\n" in done.stdout


def test_online_encodes_tiles_when_they_are_used_and_keeps_no_maps(copy):
    write_config(copy, tokens={"mode": "online"}, train={"steps": 3})
    jobs = planned(copy)
    assert "train holohisto" in jobs
    assert not [job for job in jobs if job.startswith("token")]
    model = copy / "results/models/holohisto/segmenter.safetensors"
    labels = copy / "results/models/holohisto/labels/e1.tif"
    before = model.read_bytes()
    shutil.rmtree(copy / "results" / "tokens")
    snakemake(copy, "--cores", "2", str(labels.relative_to(copy)))
    assert model.read_bytes() != before
    assert not (copy / "results" / "tokens").exists()
    with safe_open(model, framework="numpy") as file:
        assert file.metadata()["mode"] == "online"


def test_a_slide_is_segmented_without_any_to_train_on(finished, tmp_path):
    folder = make_folder(tmp_path / "new")
    write_slide(folder, "p1", 9)
    given = finished / "results"
    weights = str(given / "models" / "holohisto" / "segmenter.safetensors")
    write_config(
        folder,
        tokenizer={"checkpoint": str(given / "tokenizer" / "tokenizer.safetensors")},
        models={
            "holohisto": {"kind": "holohisto", "size": "T", "weights": weights},
            "threshold": {
                "kind": "colour_threshold",
                "weights": str(given / "models" / "threshold" / "segmenter.safetensors"),
            },
        },
    )
    write_sheet(folder, [row("p1", "predict")])
    snakemake(folder, "--cores", "2")
    assert (folder / "results" / "report.html").is_file()
    with openslide.OpenSlide(
        folder / "results" / "models" / "threshold" / "masks" / "p1_glomerulus.tif"
    ) as mask:
        segmented = np.asarray(mask.read_region((0, 0), 0, SIZE).convert("L")) > 127
    discs = paint(9)[1]
    assert 2 * (segmented & discs).sum() / (segmented.sum() + discs.sum()) > 0.8
