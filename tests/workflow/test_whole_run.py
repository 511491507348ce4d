"""What a whole run of the workflow on tiny slides makes."""

import json
import re

import pytest
from safetensors import safe_open
from tiny_cohort import (
    MODELS,
    SIZE,
    SPLITS,
    snakemake,
)

pytestmark = pytest.mark.workflow
COHORT_TABLES = (
    "slides",
    "groups",
    "comparisons",
    "objects",
    "distributions",
    "correct_next",
)
TABLES = ("table1", "table2", "table3", "token_value", "corrections")
SEGMENTER_FILES = ("segmenter.safetensors", "segmenter.openvino", "training.tsv")
TOKENIZER_FILES = (
    "tokenizer.safetensors",
    "tokenizer.openvino",
    "training.tsv",
    "reconstruction.jpg",
)
CATEGORIES = {"Report", "Scores", "Gallery", "Foreground", "Overlays", "Tokens", "Training"}


def test_a_run_makes_every_file(finished):
    results = finished / "results"
    made = {str(p.relative_to(results)) for p in results.rglob("*") if p.is_file()}
    expected = {"report.html", *(f"cohort/{name}.tsv" for name in COHORT_TABLES)}
    expected |= {f"tables/{name}.tsv" for name in TABLES} | {"cohort/provenance.json"}
    expected.add("models/holohisto/token_value.tsv")
    expected |= {f"tokenizer/{name}" for name in TOKENIZER_FILES}
    for slide in SPLITS:
        expected |= {f"check/{slide}.json", f"foreground/{slide}.tif", f"foreground/{slide}.jpg"}
        expected |= {f"tokens/{slide}.{kind}" for kind in ("safetensors", "json", "jpg")}
    for model in MODELS:
        expected |= {f"models/{model}/{n}" for n in SEGMENTER_FILES}
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
        ".extra-" in name or ".missed-" in name or name.startswith("gallery/p1.unsure-")
        for name in shown - fields - expected
        if name.endswith(".jpg")
    )
    made -= shown
    assert {name for name in made if not name.startswith("benchmarks/")} == expected
    logs = {str(p.relative_to(finished / "logs")) for p in (finished / "logs").rglob("*.log")}
    assert {"check/e1.log", "infer/threshold/e1.log", "train/holohisto.log"} <= logs


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
    facts = json.loads((finished / "results/cohort/provenance.json").read_text())
    assert set(facts["slides"]) == set(SPLITS)
    weights = safe_open(finished / "results/tokenizer/tokenizer.safetensors", "numpy").metadata()
    assert facts["segmenters"]["holohisto"]["tokenizer"] == weights["digest"] == facts["tokenizer"]
    ran = {(job["rule"], job["wildcards"]) for job in facts["jobs"]}
    assert {("check", "slide=e1"), ("train", "model=holohisto"), ("report", "")} <= ran
    assert {job["reason"].split(":")[0] for job in facts["jobs"]} <= {
        "Missing output files",
        "Input files updated by another job",
    }


def test_the_report_shows_what_the_verb_tokens_wrote(finished):
    page = (finished / "results/report.html").read_text()
    section = page.split('<section id="tokens">')[1].split("</section>")[0]
    for slide, encoded in {
        "t1": "frozen, fp32, 8 variants",
        "e1": "frozen, fp32, 1 variant",
    }.items():
        quality = json.loads((finished / f"results/tokens/{slide}.json").read_text())
        line = section.split(f"<tr><th>{slide}<small>")[1].split("</tr>")[0]
        assert line.startswith(encoded)
        for text in (
            f"{quality['psnr']:.1f}",
            f"{quality['ssim']:.2f}",
            f"{quality['codes_used']}",
            f"{100 * quality['codes_used'] / 16:.0f} %",
            f"{quality['perplexity']:.0f}",
            f"{100 * quality['native_agreement']:.1f} %",
        ):
            assert f">{text}<" in line
    assert "dB closer to the upper" in section or "no closer to the upper" in section


def test_masks_open_at_the_size_and_resolution_of_the_slide(finished):
    from openslide import OpenSlide

    with OpenSlide(finished / "results/models/threshold/masks/e1_glomerulus.tif") as mask:
        assert mask.dimensions == SIZE
        assert float(mask.properties["openslide.mpp-x"]) == pytest.approx(0.5, rel=1e-3)


def test_a_second_run_has_nothing_to_do(copy):
    assert "Nothing to be done" in snakemake(copy, "--cores", "2").stdout


def test_snakemakes_own_report_is_one_page_that_loads_nothing(copy, tmp_path):
    path = tmp_path / "report.html"
    snakemake(copy, "--report", str(path))
    page = path.read_text()
    assert not re.findall(r"""(?:src|href)=["']?https?://""", page)
    categories = json.JSONDecoder().raw_decode(page.split("var categories = ")[1])[0]
    assert set(categories) == CATEGORIES
    overlays = [f"results/models/holohisto/overlays/{slide}.jpg" for slide in ("e1", "e2", "p1")]
    assert categories["Overlays"]["holohisto"] == overlays
    captions = dict(re.findall(r'"(results/[^"]*)": {"name": .*?"caption": "<p>(.{60})', page))
    assert set(captions) == {
        file for group in categories.values() for files in group.values() for file in files
    }
    assert "outlines of model holohisto" in captions[overlays[0]]


def test_snakemakes_own_report_packs_every_file_too(copy, tmp_path):
    path = tmp_path / "snakemake.zip"
    snakemake(copy, "--report", str(path))
    assert path.stat().st_size > 100_000


def test_jobs_of_small_images_run_in_forks_of_one_process(finished):
    logs = [path.read_text() for path in (finished / ".snakemake" / "log").glob("*.log")]
    assert any("run in forks of one process" in text for text in logs)
