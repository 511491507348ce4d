"""Bad slides, mistakes in the configuration and absent files."""

import pytest
import yaml
from planned_jobs import (
    planned,
)
from tiny_cohort import (
    MODELS,
    SPLITS,
    make_folder,
    row,
    snakemake,
    write_config,
    write_sheet,
    write_slide,
)

pytestmark = pytest.mark.workflow


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


def test_missing_files_are_reported_all_at_once_before_anything_runs(tmp_path):
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
