"""The real workflow on tiny slides: what it makes, what reruns when, what a bad slide does."""

import json
import os
import re
import shutil
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import openslide
import pytest
import yaml
from checkpoint_files import Published, write_taming
from safetensors import safe_open
from tiny_cohort import (
    CONFIG,
    MODELS,
    ROOT,
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


def planned(folder: Path, *arguments: str) -> set[str]:
    """The jobs of a dry run, each as `rule model slide`."""
    text = snakemake(folder, "-n", *arguments).stdout
    if "Nothing to be done" in text:
        return set()
    jobs = set()
    for rule, block in re.findall(r"^rule (\w+):\n((?:    .*\n)+)", text, flags=re.M):
        words = re.findall(r"(?:model|slide)=([^,\s]+)", re.search("wildcards: .*|$", block)[0])
        jobs.add(" ".join([rule, *words]))
    return jobs - {"all"}


def per_model(rule: str, *slides: str) -> set[str]:
    return {f"{rule} {model} {slide}" for model in MODELS for slide in slides}


def jobs_of_slide(slide: str, scored: bool = True) -> set[str]:
    jobs = {f"{rule} {slide}" for rule in ("check", "foreground", "tokens")}
    jobs |= per_model("infer", slide) | per_model("mask", slide) | {"report"}
    return jobs | per_model("metrics", slide) | {"cohort", "gallery"} if scored else jobs


COHORT_STEPS = {"cohort", "gallery", "report"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a whole run; copy it before changing it."""
    folder = make_folder(tmp_path_factory.mktemp("workflow") / "run")
    for seed, slide in enumerate(SPLITS):
        write_slide(folder, slide, seed)
    snakemake(folder, "--cores", "2")
    return folder


@pytest.fixture
def copy(finished, tmp_path):
    """The finished run again, times of files and Snakemake's records included."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def test_a_run_makes_every_file(finished):
    results = finished / "results"
    made = {str(p.relative_to(results)) for p in results.rglob("*") if p.is_file()}
    expected = {"report.html", *(f"cohort/{name}.tsv" for name in COHORT_TABLES)}
    expected |= {f"tables/table{number}.tsv" for number in (1, 2, 3)} | {"cohort/provenance.json"}
    expected |= {f"tokenizer/{name}" for name in TOKENIZER_FILES}
    for slide in SPLITS:
        expected |= {f"check/{slide}.json", f"foreground/{slide}.tif", f"foreground/{slide}.jpg"}
        expected |= {f"tokens/{slide}.{kind}" for kind in ("safetensors", "json", "jpg")}
    for model in MODELS:
        expected |= {f"models/{model}/{n}" for n in ("segmenter.safetensors", "training.tsv")}
        for slide in ("e1", "e2", "p1"):
            expected |= {
                f"models/{model}/labels/{slide}.tif",
                f"models/{model}/labels/{slide}.json",
                f"models/{model}/masks/{slide}.json",
                f"models/{model}/probability/{slide}.tif",
                f"models/{model}/masks/{slide}_glomerulus.tif",
                f"models/{model}/geojson/{slide}.geojson",
                f"models/{model}/overlays/{slide}.jpg",
            }
        expected |= {f"models/{model}/metrics/{slide}.json" for slide in ("e1", "e2")}
    # A field of each group: input, annotation, two models, whole slide. Errors go by the scores.
    shown = {name for name in made if name.startswith("gallery/")}
    fields = {f"gallery/{slide}.field-{i}.jpg" for slide in ("e1", "e2") for i in range(5)}
    assert {*fields, "gallery/gallery.json"} <= shown
    assert all(
        ".extra-" in name or ".missed-" in name
        for name in shown - fields - expected
        if name.endswith(".jpg")
    )
    made -= shown
    assert {name for name in made if not name.startswith("benchmarks/")} == expected
    logs = {str(p.relative_to(finished / "logs")) for p in (finished / "logs").rglob("*.log")}
    assert {"check/e1.log", "infer/threshold/e1.log", "train/holohisto.log"} <= logs


COHORT_TABLES = ("slides", "groups", "comparisons", "objects", "distributions")
TOKENIZER_FILES = ("tokenizer.safetensors", "training.tsv", "reconstruction.jpg")


def test_the_threshold_model_finds_the_dark_discs(finished):
    """The scores that reach the cohort table are those of the masks on the disk."""
    scores = json.loads((finished / "results/models/threshold/metrics/e1.json").read_text())
    assert scores["classes"]["glomerulus"]["foreground"]["dice"] > 0.9
    table = (finished / "results/cohort/slides.tsv").read_text().splitlines()
    assert {line.split("\t")[table[0].split("\t").index("slide")] for line in table[1:]} == {
        "e1",
        "e2",
    }


def test_provenance_names_all_slides_weights_and_reasons(finished):
    told = json.loads((finished / "results/cohort/provenance.json").read_text())
    assert set(told["slides"]) == set(SPLITS)
    weights = safe_open(finished / "results/tokenizer/tokenizer.safetensors", "numpy").metadata()
    assert told["segmenters"]["holohisto"]["tokenizer"] == weights["digest"] == told["tokenizer"]
    ran = {(job["rule"], job["wildcards"]) for job in told["jobs"]}
    assert {("check", "slide=e1"), ("train", "model=holohisto"), ("report", "")} <= ran
    assert {job["reason"].split(":")[0] for job in told["jobs"]} <= {
        "Missing output files",
        "Input files updated by another job",
    }


def test_the_report_tells_what_the_verb_tokens_wrote(finished):
    page = (finished / "results/report.html").read_text()
    section = page.split('<section id="tokens">')[1].split("</section>")[0]
    for slide, encoded in {
        "t1": "frozen, fp32, 8 variants",
        "e1": "frozen, fp32, 1 variant",
    }.items():
        told = json.loads((finished / f"results/tokens/{slide}.json").read_text())
        line = section.split(f"<tr><th>{slide}<small>")[1].split("</tr>")[0]
        assert line.startswith(encoded)
        for text in (
            f"{told['psnr']:.1f}",
            f"{told['ssim']:.2f}",
            f"{told['codes_used']}",
            f"{100 * told['codes_used'] / 16:.0f} %",
            f"{told['perplexity']:.0f}",
            f"{100 * told['native_agreement']:.1f} %",
        ):
            assert f">{text}<" in line
    assert "dB closer to the upper" in section or "no closer to the upper" in section


def test_online_needs_no_token_maps(copy):
    write_config(copy, tokens={"mode": "online"})
    for file in (copy / "results/tokens").iterdir():
        file.unlink()
    jobs = planned(copy)
    assert {"report", "train holohisto"} <= jobs
    assert not [job for job in jobs if job.startswith(("tokens", "tokenizer", "check"))]


def test_masks_open_at_the_size_and_resolution_of_the_slide(finished):
    from openslide import OpenSlide

    with OpenSlide(finished / "results/models/threshold/masks/e1_glomerulus.tif") as mask:
        assert mask.dimensions == SIZE
        assert float(mask.properties["openslide.mpp-x"]) == pytest.approx(0.5, rel=1e-3)


def test_a_second_run_has_nothing_to_do(finished):
    assert "Nothing to be done" in snakemake(finished, "--cores", "2").stdout


def test_another_slide_file_reruns_that_slide_only(copy):
    write_slide(copy, "e1", seed=77)
    assert planned(copy) == jobs_of_slide("e1")


def test_editing_a_row_reruns_that_slide_only(copy):
    rows = [row(s, split, mpp="0.49" if s == "p1" else "") for s, split in SPLITS.items()]
    write_sheet(copy, rows)
    assert planned(copy) == jobs_of_slide("p1", scored=False)


def test_a_threshold_of_one_slide_leaves_its_check_alone(copy):
    write_sheet(copy, [row(s, t, saturation="0.1" if s == "e2" else "") for s, t in SPLITS.items()])
    assert planned(copy) == jobs_of_slide("e2") - {"check e2"}


def edit(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def test_an_edited_annotation_reruns_what_reads_its_pixels(copy):
    edit(copy / "slides" / "e1.png")
    assert planned(copy) == per_model("mask", "e1") | per_model("metrics", "e1") | COHORT_STEPS


def test_an_edited_training_annotation_trains_again_on_the_same_tokens(copy):
    edit(copy / "slides" / "t1.png")
    models = {"train holohisto", "train threshold"}
    of_slides = per_model("infer", "e1", "e2", "p1") | per_model("mask", "e1", "e2", "p1")
    assert planned(copy) == models | of_slides | per_model("metrics", "e1", "e2") | COHORT_STEPS


def test_notes_order_and_touching_the_sheet_rerun_nothing(copy):
    rows = [row(slide, split, note="seen") for slide, split in SPLITS.items()]
    write_sheet(copy, rows)
    assert planned(copy) == set()


def test_another_group_reruns_statistics_only(copy):
    write_sheet(copy, [row(slide, split, group="gC") for slide, split in SPLITS.items()])
    assert planned(copy) == COHORT_STEPS


def test_another_overlap_leaves_tokens_and_models_alone(copy):
    write_config(copy, infer={"overlap": 0.5})
    expected = per_model("infer", "e1", "e2", "p1") | per_model("mask", "e1", "e2", "p1")
    assert planned(copy) == expected | per_model("metrics", "e1", "e2") | COHORT_STEPS


def test_another_title_rewrites_the_report_only(copy):
    write_config(copy, report={"title": "Another"})
    assert planned(copy) == {"report"}


def test_adding_a_test_slide_trains_nothing(copy):
    write_slide(copy, "e3", seed=9)
    write_sheet(copy, [row(slide, split) for slide, split in {**SPLITS, "e3": "test"}.items()])
    assert planned(copy) == jobs_of_slide("e3")


def test_moving_a_slide_to_training_trains_again(copy):
    write_sheet(copy, [row(slide, split) for slide, split in {**SPLITS, "e2": "val"}.items()])
    assert {"train holohisto", "train threshold"} <= planned(copy)
    assert "tokenizer" not in planned(copy)


def test_other_looks_encode_training_slides_alone(copy):
    write_config(copy, tokens={"appearances": 9})
    jobs = planned(copy)
    assert {"tokens t1", "train holohisto"} <= jobs
    assert "tokens e1" not in jobs


def test_speed_settings_rerun_nothing(copy):
    arguments = ("--set-resources", "infer:mem_mb=9000", "--set-threads", "train=1")
    assert planned(copy, *arguments, "--config", "scratch=$TMPDIR") == set()


def test_a_given_segmenter_is_not_trained(copy):
    shutil.copy(copy / "results/models/holohisto/segmenter.safetensors", copy / "mine.safetensors")
    models = {"holohisto": {**CONFIG["models"]["holohisto"], "weights": "mine.safetensors"}}
    write_config(copy, models=models)
    jobs = planned(copy)
    assert "infer holohisto e1" in jobs
    assert not [job for job in jobs if job.startswith(("train", "tokens", "tokenizer"))]


def test_an_edited_file_of_a_checkpoint_makes_the_tokenizer_again(copy):
    file = "results/tokenizer/tokenizer.safetensors"
    network = Published(ch_mult=[1, 1, 1, 1, 1], num_res_blocks=1)
    described = write_taming(copy / "given", network).with_name("model.yaml")
    write_config(copy, tokenizer={"checkpoint": "given"})
    snakemake(copy, "--cores", "2", file)
    assert planned(copy, file) == set()
    described.write_text(described.read_text() + "# edited\n")
    assert planned(copy, file) == {"tokenizer"}
    described.unlink()
    done = snakemake(copy, "-n", file, check=False)
    assert done.returncode == 2
    assert "given/last.ckpt: needs the .yaml that describes it beside it" in done.stdout


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


def test_missing_masks_from_elsewhere_are_told_before_anything_runs(copy):
    with_masks_from_elsewhere(copy)
    (copy / "winner/e2.png").unlink()
    done = snakemake(copy, "--cores", "1", check=False)
    assert done.returncode == 2
    assert "config: models.winner.masks, slide e2: no such file: winner/e2.png\n" in done.stdout


def test_online_encodes_tiles_when_they_are_used_and_keeps_no_maps(copy):
    write_config(copy, tokens={"mode": "online"}, train={"epochs": 1})
    jobs = planned(copy)
    assert "train holohisto" in jobs
    assert not [job for job in jobs if job.startswith("tokens")]
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
        found = np.asarray(mask.read_region((0, 0), 0, SIZE).convert("L")) > 127
    discs = paint(9)[1]
    assert 2 * (found & discs).sum() / (found.sum() + discs.sum()) > 0.8


def test_a_bad_slide_fails_alone_and_the_report_names_it_first(copy):
    write_slide(copy, "e0", seed=8)
    path = copy / "slides" / "e0.tif"
    path.write_bytes(path.read_bytes()[:3000])
    rows = [row(slide, split) for slide, split in {**SPLITS, "e0": "test", "e3": "test"}.items()]
    write_slide(copy, "e3", seed=9)
    write_sheet(copy, rows)
    done = snakemake(copy, "--cores", "2", check=False)
    assert done.returncode == 1
    error = [
        line for line in (copy / "logs/check/e0.log").read_text().splitlines() if "ERROR" in line
    ]
    assert len(error) == 1
    assert "e0" in error[0]
    assert not (copy / "results/check/e0.json").exists()
    for model in MODELS:
        assert (copy / f"results/models/{model}/metrics/e3.json").exists()
    assert "\te3\t" in (copy / "results/cohort/slides.tsv").read_text()
    page = (copy / "results/report.html").read_text()
    body = page[page.index("<body") :]
    assert 0 < body.index("e0") < body.index("e1")
    again = planned(copy)
    assert "check e0" in again
    assert "check e3" not in again


def test_a_slide_that_went_bad_loses_its_old_scores(copy):
    path = copy / "slides" / "e1.tif"
    path.write_bytes(path.read_bytes()[:3000])
    assert snakemake(copy, "--cores", "2", check=False).returncode == 1
    table = (copy / "results/cohort/slides.tsv").read_text()
    assert "\te1\t" not in table
    assert "\te2\t" in table
    assert not list(copy.glob("results/models/*/overlays/e1.jpg"))
    assert len(list(copy.glob("results/models/*/masks/e1_glomerulus.tif"))) == len(MODELS)


CATEGORIES = {"Report", "Scores", "Examples", "Foreground", "Overlays", "Tokens", "Training"}


def test_snakemakes_own_report_is_one_page_that_loads_nothing(finished, tmp_path):
    path = tmp_path / "report.html"
    snakemake(finished, "--report", str(path))
    page = path.read_text()
    assert not re.findall(r"""(?:src|href)=["']?https?://""", page)
    categories = json.JSONDecoder().raw_decode(page.split("var categories = ")[1])[0]
    assert set(categories) == CATEGORIES
    overlays = [f"results/models/holohisto/overlays/{slide}.jpg" for slide in ("e1", "e2", "p1")]
    assert categories["Overlays"]["holohisto"] == overlays
    told = dict(re.findall(r'"(results/[^"]*)": {"name": .*?"caption": "<p>(.{60})', page))
    assert set(told) == {
        file for one in categories.values() for some in one.values() for file in some
    }
    assert "outlines of model holohisto" in told[overlays[0]]


def test_snakemakes_own_report_packs_every_file_too(finished, tmp_path):
    path = tmp_path / "snakemake.zip"
    snakemake(finished, "--report", str(path))
    assert path.stat().st_size > 100_000


def test_the_slurm_profile_is_found_by_its_bare_name():
    link = ROOT / "slurm"
    assert link.is_symlink()
    assert os.readlink(link) == "profiles/slurm"


def test_a_dry_run_on_slurm_plans_gpu_jobs(copy):
    (copy / "slurm").symlink_to("profiles/slurm")
    text = snakemake(copy, "-n", "--forceall", "--profile", "slurm").stdout
    assert "Using profiles slurm and workflow specific profile profiles/default" in text
    gpu = re.findall(r"^rule (\w+):\n(?:    .*\n)*?    resources: .*gpu=1, .*$", text, flags=re.M)
    assert Counter(gpu) == {"tokenizer": 1, "tokens": 5, "train": 2, "infer": 6}
    assert text.count("slurm_partition=gpu") == 1 + 5 + 2 + 6
    ungrouped = re.findall(r"^rule (\w+):", text, flags=re.M)
    assert set(ungrouped) == {
        "tokenizer",
        "tokens",
        "train",
        "infer",
        "cohort",
        "gallery",
        "report",
        "all",
    }
    blocks = re.findall(r"Group job (\w+).*\n((?:    .*\n|\n)+)", text)
    assert Counter(map(members, blocks)) == {
        **{("prepare", "check", "foreground", f"slide={slide}"): 1 for slide in SPLITS},
        **{
            ("deliver", "mask", *scores, f"model={model}, slide={slide}"): 1
            for model in MODELS
            for slide, scores in (("e1", ["metrics"]), ("e2", ["metrics"]), ("p1", []))
        },
    }


def members(group: tuple[str, str]) -> tuple[str, ...]:
    """Name, rules and wildcards of a group of a dry run; wildcards are told once if all agree."""
    name, block = group
    rules = re.findall(r"^    rule (\w+):$", block, flags=re.M)
    wildcards = re.findall(r"^        wildcards: (.*)$", block, flags=re.M)
    return name, *sorted(rules), *sorted(set(wildcards))


def test_a_site_profile_replaces_what_it_names(tmp_path):
    folder = make_folder(tmp_path / "run")
    empty_slides(folder, SPLITS)
    (folder / "slurm").symlink_to("profiles/slurm")
    (folder / "site").mkdir()
    site = {"set-resources": {"infer": {"slurm_partition": "a100", "gpu_model": "a100"}}}
    (folder / "site" / "config.yaml").write_text(yaml.safe_dump(site))
    text = snakemake(folder, "-n", "--profile", "slurm", "--profile", "site").stdout
    assert len(re.findall(r"gpu=1, .*gpu_model=a100, slurm_partition=a100", text)) == 6
    assert "slurm_partition=gpu" not in text


def test_every_key_of_the_site_block_reaches_the_jobs(tmp_path):
    """The block as it stands, with its comments taken away."""
    folder = make_folder(tmp_path / "run")
    empty_slides(folder, SPLITS)
    head, site = (ROOT / "profiles/slurm/config.yaml").read_text().split("# ---- your site", 1)
    site = re.sub(r"^#( +\w+: |[\w-]+:)", r"\1", site.split("\n", 2)[2], flags=re.M)
    assert {"default-resources", "set-resources", "config", "slurm-status-command"} == set(
        yaml.safe_load(site)
    )
    (folder / "all").mkdir()
    (folder / "all" / "config.yaml").write_text(head + site)
    text = snakemake(folder, "-n", "--profile", "all").stdout
    jobs = dict(re.findall(r"^ *rule (\w+):\n(?: +.*\n)*? +resources: (.*)$", text, flags=re.M))
    asked = {
        rule: dict(item.split("=", 1) for item in text.split(", ")) for rule, text in jobs.items()
    }
    ours = {"slurm_account": "kidney", "qos": "normal", "constraint": "avx2"}
    for rule in ("check", "foreground", "mask", "metrics", "cohort", "report"):
        assert asked[rule].items() >= (ours | {"slurm_partition": "cpu"}).items()
        assert not {"gpu", "gpu_model"} & set(asked[rule])
    for rule in ("tokenizer", "tokens", "train", "infer"):
        of_gpu = {"slurm_partition": "gpu", "gpu": "1", "gpu_model": "h200"}
        assert asked[rule].items() >= (ours | of_gpu).items()
    assert [asked[rule]["scratch"] for rule in ("tokens", "infer")] == ["$TMPDIR"] * 2


@pytest.mark.parametrize(
    ("sections", "line"),
    [
        ({"infer": {"ovrlap": 1}}, "config: infer.ovrlap: unknown key"),
        ({"infer": None}, "config: infer: empty; remove it or add keys\n"),
        ({"reference": "x"}, "config: reference 'x' is not one of ['holohisto']\n"),
        (
            {"infer": {"splits": []}, "classes": {"a": {"values": [65536]}}},
            "config: classes.a.values: grey value 65536 is not between 0 and 65535 (found"
            " [65536])\n"
            "config: infer.splits: Tuple should have at least 1 item",
        ),
        (
            {"classes": {"Tuft": {}, "tuft": {}}},
            "config: classes: names that differ only in case: Tuft, tuft",
        ),
        ({"slides": "no.tsv"}, "no.tsv: sample sheet cannot be read: No such file or directory"),
    ],
)
def test_mistakes_end_in_one_line_and_exit_code_2(tmp_path, sections, line):
    folder = make_folder(tmp_path / "run")
    (folder / "config" / "config.yaml").write_text(yaml.safe_dump(sections))
    done = snakemake(folder, "-n", check=False)
    assert done.returncode == 2
    assert line in done.stdout
    assert "Traceback" not in done.stdout


def test_missing_files_are_told_all_at_once_before_anything_runs(tmp_path):
    folder = make_folder(tmp_path / "run")
    write_slide(folder, "t1", 1)
    given = {"kind": "colour_threshold", "weights": "no.safetensors"}
    write_config(folder, models={"threshold": given}, tokenizer={"checkpoint": "none.safetensors"})
    write_sheet(folder, [row("t1", "train"), row("e1", "test"), row("p1", "predict")])
    done = snakemake(folder, "--cores", "1", check=False)
    assert done.returncode == 2
    assert [line for line in done.stdout.splitlines() if "no such file" in line] == [
        "config/slides.tsv: line 3, column image: no such file: slides/e1.tif",
        "config/slides.tsv: line 3, column annotation: no such file: slides/e1.png",
        "config/slides.tsv: line 4, column image: no such file: slides/p1.tif",
        "config: models.threshold.weights: no such file: no.safetensors",
        "config: tokenizer.checkpoint: no such file: none.safetensors",
    ]
    assert "MissingInput" not in done.stdout
    assert not (folder / "results").exists()


def test_a_cohort_without_slides_to_train_on_is_refused(tmp_path):
    folder = make_folder(tmp_path / "run")
    write_slide(folder, "p1", 9)
    write_sheet(folder, [row("p1", "predict")])
    done = snakemake(folder, "-n", check=False)
    assert done.returncode == 2
    assert (
        "config/slides.tsv: no slide has the split train, but the tokenizer, model holohisto,"
        " model threshold would be trained; "
    ) in done.stdout
    assert "Traceback" not in done.stdout


def test_jobs_find_the_package_without_an_activated_environment(tmp_path, monkeypatch):
    folder = make_folder(tmp_path / "run")
    for seed, slide in enumerate(("t1", "p1")):
        write_slide(folder, slide, seed)
    write_sheet(folder, [row("t1", "train"), row("p1", "predict")])
    beside = str(Path(sys.executable).parent)
    others = [place for place in os.environ["PATH"].split(os.pathsep) if place != beside]
    monkeypatch.setenv("PATH", os.pathsep.join(others))
    snakemake(folder, "--cores", "1", "results/check/p1.json")
    assert (folder / "results/check/p1.json").is_file()


def test_a_dry_run_of_sixty_slides_plans_every_job(tmp_path):
    folder = make_folder(tmp_path / "run")
    empty_slides(folder, {f"e{n:02}": "test" if n > 20 else "train" for n in range(60)})
    jobs = planned(folder)
    assert len(jobs) == 60 * 3 + 1 + 2 + 39 * 3 * 2 + len(COHORT_STEPS)


def empty_slides(folder: Path, slides: dict[str, str]) -> None:
    """A sheet and files enough for planning."""
    (folder / "slides").mkdir()
    for slide in slides:
        for suffix in ("tif", "png"):
            (folder / "slides" / f"{slide}.{suffix}").touch()
    write_sheet(folder, [row(slide, split) for slide, split in slides.items()])


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
