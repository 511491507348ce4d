"""Which jobs run again after a change of the sheet, the configuration or a file."""

import shutil

import pytest
from checkpoint_files import Published, write_taming
from planned_jobs import (
    COHORT_STEPS,
    TOKEN_VALUE,
    edit,
    jobs_of_slide,
    per_model,
    planned,
)
from tiny_cohort import (
    CONFIG,
    SPLITS,
    row,
    snakemake,
    write_config,
    write_sheet,
    write_slide,
)

pytestmark = pytest.mark.workflow


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


def test_an_edited_annotation_reruns_what_reads_its_pixels(copy):
    edit(copy / "slides" / "e1.png")
    scores = per_model("mask", "e1") | per_model("metrics", "e1") | {TOKEN_VALUE}
    assert planned(copy) == scores | COHORT_STEPS


def test_an_edited_training_annotation_trains_again_on_the_same_tokens(copy):
    edit(copy / "slides" / "t1.png")
    models = {"train holohisto", "train threshold", TOKEN_VALUE}
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
    assert planned(copy, *arguments, "--config", "scratch=env:TMPDIR") == set()


def test_a_given_segmenter_is_not_trained(copy):
    shutil.copy(copy / "results/models/holohisto/segmenter.safetensors", copy / "mine.safetensors")
    models = {"holohisto": {**CONFIG["models"]["holohisto"], "weights": "mine.safetensors"}}
    write_config(copy, models=models)
    jobs = planned(copy)
    assert {"infer holohisto e1", TOKEN_VALUE} <= jobs
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


def test_online_needs_no_token_maps(copy):
    write_config(copy, tokens={"mode": "online"})
    for file in (copy / "results/tokens").iterdir():
        file.unlink()
    jobs = planned(copy)
    assert {"report", "train holohisto"} <= jobs
    assert not [job for job in jobs if job.startswith(("token", "check"))]
