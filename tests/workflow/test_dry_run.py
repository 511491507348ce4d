"""Jobs that are planned for empty slides, and the environment of jobs."""

import os
import re
import sys
from pathlib import Path

import pytest
import yaml
from planned_jobs import (
    COHORT_STEPS,
    TOKEN_VALUE,
    empty_slides,
    per_model,
    planned,
)
from tiny_cohort import (
    CONFIG,
    MODELS,
    ROOT,
    make_folder,
    row,
    snakemake,
    write_sheet,
    write_slide,
)

pytestmark = pytest.mark.workflow


def test_jobs_find_the_package_without_an_activated_environment(tmp_path, monkeypatch):
    folder = make_folder(tmp_path / "run")
    for seed, slide in enumerate(("t1", "p1")):
        write_slide(folder, slide, seed)
    write_sheet(folder, [row("t1", "train"), row("p1", "predict")])
    beside = str(Path(sys.executable).parent)
    others = [folder for folder in os.environ["PATH"].split(os.pathsep) if folder != beside]
    monkeypatch.setenv("PATH", os.pathsep.join(others))
    snakemake(folder, "--cores", "1", "results/check/p1.json")
    assert (folder / "results/check/p1.json").is_file()


def test_a_dry_run_of_sixty_slides_plans_every_job(tmp_path):
    folder = make_folder(tmp_path / "run")
    empty_slides(folder, {f"e{n:02}": "test" if n > 20 else "train" for n in range(60)})
    jobs = planned(folder)
    assert len(jobs) == 60 * 3 + 1 + 2 + 1 + 39 * 3 * 2 + len(COHORT_STEPS)
    assert TOKEN_VALUE in jobs


def test_every_row_of_table_1_is_planned_on_the_demo_cohort(tmp_path):
    folder = make_folder(tmp_path / "run")
    empty_slides(folder, {"t1": "train", "v1": "val", "e1": "test", "e2": "test"})
    (folder / "demo").mkdir()
    (folder / "config" / "slides.tsv").rename(folder / "demo" / "slides.tsv")
    jobs = planned(folder, "--configfile", str(ROOT / "config" / "table1.yaml"))
    models = {
        "holohisto",
        "unet",
        "dynunet",
        "unetr",
        "swinunetr_v2",
        "segformer",
        "deeplabv3plus",
        "sam_vit_b",
        "sam_vit_h",
    }
    assert {job for job in jobs if job.startswith("train ")} == {f"train {m}" for m in models}
    for rule in ("infer", "mask", "metrics"):
        expected = {f"{rule} {model} {slide}" for model in models for slide in ("e1", "e2")}
        assert {job for job in jobs if job.startswith(f"{rule} ")} == expected
    assert len([job for job in jobs if job.startswith("tokens ")]) == 4
    assert {job for job in jobs if job.startswith("token_value")} == {TOKEN_VALUE}
    assert {"tokenizer", "cohort", "report"} <= jobs


def test_a_pretrained_start_is_an_input_of_that_training_alone(tmp_path):
    folder = make_folder(tmp_path / "run")
    empty_slides(folder, {"t1": "train", "e1": "test"})
    models = {
        "deeplab": {"kind": "deeplabv3plus", "pretrained": "resnet.pth"},
        "unet": {"kind": "unet"},
    }
    (folder / "config/config.yaml").write_text(yaml.safe_dump({**CONFIG, "models": models}))
    done = snakemake(folder, "--cores", "1", check=False)
    assert done.returncode == 2
    assert "config: models.deeplab.pretrained: no such file: resnet.pth\n" in done.stdout
    (folder / "resnet.pth").touch()
    text = snakemake(folder, "-n").stdout
    jobs = re.findall(r"^rule train:\n    input: (.*)\n    output: (.*),", text, flags=re.M)
    ends = {where.split("/")[2]: given.endswith("resnet.pth") for given, where in jobs}
    assert ends == {"deeplab": True, "unet": False}
    assert "rule tokenizer" not in text


def test_another_workflow_uses_this_one_as_a_module(tmp_path):
    folder = make_folder(tmp_path / "run")
    empty_slides(folder, {"t1": "train", "e1": "test"})
    (folder / "Snakefile").write_text(
        f"""
configfile: "config/config.yaml"

module holohisto:
    snakefile: "{ROOT / "workflow" / "Snakefile"}"
    config: config

use rule * from holohisto as holohisto_*

rule count:
    input: "results/cohort/slides.tsv"
    output: "results/lines.txt"
    shell: "wc -l < {{input}} > {{output}}"
"""
    )
    jobs = planned(folder, "--snakefile", "Snakefile", "results/lines.txt")
    once = {"tokenizer", *(f"train {model}" for model in MODELS), "cohort"}
    slides = {f"{rule} {s}" for rule in ("check", "foreground", "tokens") for s in ("t1", "e1")}
    expected = once | slides | per_model("infer", "e1") | per_model("mask", "e1")
    expected |= per_model("metrics", "e1")
    assert jobs == {"count", *(f"holohisto_{job}" for job in expected)}
