"""Outcomes of slides and reasons of failures."""

from report_page import make, run_of, shared

from holohisto.report import failures


def segmented(slide):
    folder = "models/m"
    return (
        f"{folder}/labels/{slide}.tif",
        f"{folder}/masks/{slide}_x.tif",
        f"{folder}/masks/{slide}_y.tif",
        f"{folder}/geojson/{slide}.geojson",
        f"{folder}/overlays/{slide}.jpg",
    )


def test_outcomes_of_whole_slides(tmp_path):
    make(tmp_path, "tokenizer/tokenizer.safetensors", "models/m/segmenter.safetensors")
    make(tmp_path, *shared("a"), *shared("b"), *shared("c"), *segmented("b"), *segmented("c"))
    make(tmp_path, "models/m/metrics/b.json")
    words = {slide: one.word for slide, one in failures.outcomes(run_of(tmp_path)).items()}
    assert words == {"a": "done", "b": "done", "c": "done", "d": "excluded"}
    assert failures.cohort_failures(run_of(tmp_path)) == []


def test_a_mask_of_one_class_missing_is_a_failure_of_mask(tmp_path):
    make(tmp_path, *shared("c"), *segmented("c"))
    (tmp_path / "results/models/m/masks/c_y.tif").unlink()
    (failure,) = failures.outcomes(run_of(tmp_path))["c"].failures
    assert (failure.stage, failure.model) == ("mask", "m")


def test_metrics_are_expected_of_annotated_slides_only(tmp_path):
    make(tmp_path, *shared("b"), *shared("c"), *segmented("b"), *segmented("c"))
    outcomes = failures.outcomes(run_of(tmp_path))
    assert outcomes["b"].failures[0].stage == "metrics"
    assert outcomes["c"].word == "done"


def test_slides_that_wait_for_a_failed_training_say_so(tmp_path):
    make(tmp_path, "tokenizer/tokenizer.safetensors", *shared("c"))
    log = tmp_path / "logs/train/m.log"
    log.parent.mkdir(parents=True)
    log.write_text("10:00:00 ERROR slides: nothing is annotated\n")
    (cohort,) = failures.cohort_failures(run_of(tmp_path))
    assert (cohort.stage, cohort.model, cohort.reason) == (
        "train",
        "m",
        "slides: nothing is annotated",
    )
    (failure,) = failures.outcomes(run_of(tmp_path))["c"].failures
    assert (failure.reason, failure.started) == ("not started: model m is not trained", False)


def test_frozen_models_need_no_training_and_no_tokens_of_training_slides(tmp_path):
    run = run_of(tmp_path, models={"m": {"weights": "m.safetensors"}})
    make(tmp_path, "tokenizer/tokenizer.safetensors", *shared("a")[:2])
    assert failures.cohort_failures(run) == []
    assert failures.outcomes(run)["a"].word == "done"


def test_equal_failures_share_a_line(tmp_path):
    models = {"m": {"weights": "x"}, "k": {"weights": "x"}}
    make(tmp_path, "tokenizer/tokenizer.safetensors", *shared("b"), *shared("c"))
    log = tmp_path / "logs/infer/m/b.log"
    log.parent.mkdir(parents=True)
    log.write_text("10:00:00 ERROR broken\n")
    lines = failures.failure_lines(failures.outcomes(run_of(tmp_path, models=models)))
    waited = "not started: the run ended earlier"
    assert [(line.slides, line.stage, line.models, line.reason) for line in lines] == [
        (("b",), "infer", ("m",), "broken"),
        (("a",), "check", (), waited),
        (("b",), "infer", ("k",), waited),
        (("c",), "infer", ("m", "k"), waited),
    ]


def test_reasons_in_logs(tmp_path):
    log = tmp_path / "x.log"
    assert failures.reason_in(log) is None
    log.write_text("10:00:00 INFO a\n10:00:01 ERROR one\n10:00:02 ERROR two\n10:00:03 INFO b\n")
    assert failures.reason_in(log) == "two"
    log.write_text("10:00:00 ERROR this is a bug in holohisto; x\nTraceback\nKeyError: 'y'\n\n")
    assert failures.reason_in(log) == "a bug in holohisto: KeyError: 'y'"
    log.write_text("10:00:00 INFO tiles: 3/9\n")
    assert failures.reason_in(log) == (
        "ended without an error message; it may have been killed for memory or time;"
        " its last line: 10:00:00 INFO tiles: 3/9"
    )
    log.write_text("10:00:00 INFO mask: done in 2.0 s\n")
    gone = "finished, but its result is missing now; run again"
    assert failures.reason_in(log) == gone
    log.write_text("10:00:00 INFO mask: done in 2.0 s, 113 MB\n")
    assert failures.reason_in(log) == gone
    log.write_text("")
    assert "killed" in failures.reason_in(log)
