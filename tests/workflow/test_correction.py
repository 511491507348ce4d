"""The loop of docs/correction.md: segment, correct in QuPath, train on it, see before and after."""

import re
import shutil

import pandas as pd
import pytest
from corrected_outlines import changed, drawn, exported, features_of, write_features
from planned_jobs import COHORT_STEPS, planned
from tiny_cohort import make_folder, row, snakemake, write_config, write_sheet, write_slide

pytestmark = pytest.mark.workflow
SLIDES = {"e1": "test", "e2": "test", "p1": "predict", "p2": "predict"}
FINDER = {"kind": "colour_threshold", "weights": "kept/threshold.safetensors"}
BEFORE = {"kind": "holohisto", "size": "T", "weights": "kept/segmenter.safetensors"}
AFTER = {"kind": "holohisto", "size": "T", "pretrained": "kept/segmenter.safetensors"}


def configure(folder, reference, **models):
    write_config(
        folder,
        tokenizer={"checkpoint": "kept/tokenizer.safetensors"},
        models=models,
        tokens={"orientations": 1, "appearances": 0},
        train={"steps": 2, "validate_every": 2},
    )
    with (folder / "config/config.yaml").open("a") as file:
        file.write(f"reference: {reference}\n")


@pytest.fixture
def segmented(finished, tmp_path):
    """A cohort without annotated training slides, segmented by models of another cohort."""
    folder = make_folder(tmp_path / "loop")
    (folder / "kept").mkdir()
    models = finished / "results/models"
    for source, name in (
        (models / "holohisto/segmenter.safetensors", "segmenter"),
        (models / "threshold/segmenter.safetensors", "threshold"),
        (finished / "results/tokenizer/tokenizer.safetensors", "tokenizer"),
    ):
        shutil.copy(source, folder / "kept" / f"{name}.safetensors")
    for seed, slide in enumerate(SLIDES):
        write_slide(folder, slide, seed + 20)
    write_sheet(folder, [row(slide, split) for slide, split in SLIDES.items()])
    configure(folder, "threshold", threshold=FINDER, holohisto=BEFORE)
    snakemake(folder, "--cores", "2")
    return folder


def correct(folder):
    """Keep one of the three discs, grow one, delete one, and draw two where there is none."""
    delivered = features_of(folder / "results/models/threshold/geojson/p1.geojson")
    assert len(delivered) == 3
    features = [drawn("glomerulus", 20, 20), exported(delivered[2]), changed(delivered[0], 6)]
    (folder / "corrected").mkdir()
    features.append(drawn("glomerulus", 620, 440))
    write_features(folder / "corrected/p1.geojson", features)


def test_corrected_outlines_train_a_model_that_is_compared_with_the_earlier_one(segmented):
    ranked = pd.read_csv(segmented / "results/cohort/correct_next.tsv", sep="\t")
    assert sorted(ranked["slide"]) == ["p1", "p2"]
    page = (segmented / "results/report.html").read_text()
    assert 'id="next"' in page
    assert 'id="corrections"' not in page
    correct(segmented)
    rows = [row(slide, split) for slide, split in SLIDES.items()]
    rows[2] = row("p1", "train", annotation="corrected/p1.geojson")
    write_sheet(segmented, rows)
    configure(segmented, "after", threshold=FINDER, holohisto=BEFORE, after=AFTER)
    expected = {f"{rule} p1" for rule in ("check", "foreground", "tokens")}
    expected |= {"train after", "token_value after"} | COHORT_STEPS
    expected |= {f"{rule} after {s}" for rule in ("infer", "mask") for s in ("e1", "e2", "p2")}
    expected |= {f"metrics after {slide}" for slide in ("e1", "e2")}
    assert planned(segmented) == expected
    snakemake(segmented, "--cores", "2")
    assert planned(segmented) == set()
    table = pd.read_csv(segmented / "results/tables/corrections.tsv", sep="\t")
    (found,) = table.to_dict("records")
    assert (found["slide"], found["split"], found["model"]) == ("p1", "train", "threshold")
    counts = [found[name] for name in ("delivered", "kept", "changed", "added", "deleted")]
    assert counts == [3, 1, 1, 2, 1]
    assert found["area_after_um2"] > 1.1 * found["area_before_um2"]
    scores = pd.read_csv(segmented / "results/cohort/slides.tsv", sep="\t")
    for model, start in (("holohisto", "scratch"), ("after", "pretrained: segmenter.safetensors")):
        own = scores[scores["model"] == model]
        assert own["slide"].tolist() == ["e1", "e2"]
        assert set(own["pretrained"]) == {start}
    page = (segmented / "results/report.html").read_text()
    part = re.search(r'<section id="corrections">.*?</section>', page, flags=re.S)[0]
    assert re.findall(r"<td[^>]*>(.*?)</td>", part)[:5] == ["3", "1", "1", "2", "1"]
    part = re.search(r'<section id="scores">.*?</section>', page, flags=re.S)[0]
    assert all(f">{model}<" in part for model in ("holohisto", "after"))
