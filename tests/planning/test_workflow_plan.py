"""What the workflow's rules process, from configuration and rows."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from holohisto.config.parsing import parse_config
from holohisto.errors import HolohistoError, SeveralErrors
from holohisto.planning.resources import need_of, unseen
from holohisto.planning.workflow import NOTHING, Plan, any_of, scaled
from holohisto.runtime.results import Results
from holohisto.sheet.cells import Row

ROWS = (
    Row("t1", Path("t1.tif"), "train", Path("t1.png"), group="DN", annotated=("tuft", "capsule")),
    Row("v1", Path("v1.tif"), "val", Path("v1.png"), mpp=0.25),
    Row("e1", Path("e1.tif"), "test", Path("e 1.png"), saturation=0.1),
    Row("p1", Path("p1.tif"), "predict"),
)
UNET = {"kind": "unet"}
HOLOHISTO = {"kind": "holohisto"}


def plan_of(*rows: Row, folder: Path = Path("results"), **sections) -> Plan:
    sections.setdefault("infer", {"splits": ["test", "predict"]})
    named = {row.slide: row for row in rows or ROWS}
    return Plan(parse_config(sections), named, Results(folder))


def job(slide: str = "e1", model: str = "holohisto") -> SimpleNamespace:
    return SimpleNamespace(slide=slide, model=model)


def test_slides_are_chosen_by_split_and_annotation():
    plan = plan_of()
    assert plan.slides("test", "predict") == ["e1", "p1"]
    assert plan.slides("test", "predict", annotated=True) == ["e1"]
    assert (plan.learned, plan.segmented) == (["t1", "v1"], ["e1", "p1"])
    assert (plan.scored, plan.encoded) == (["e1"], ["t1", "v1", "e1", "p1"])


@pytest.mark.parametrize(
    ("models", "encoded"),
    [
        ({"unet": UNET}, []),
        ({"holohisto": HOLOHISTO | {"weights": "w.safetensors"}}, ["e1", "p1"]),
    ],
)
def test_only_slides_whose_tokens_are_read_are_encoded(models, encoded):
    assert plan_of(models=models).encoded == encoded


@pytest.mark.parametrize(
    ("tokenizer", "slides"),
    [({}, ["t1"]), ({"annotation_weight": 0}, []), ({"checkpoint": "given.safetensors"}, [])],
)
def test_annotations_train_the_tokenizer_unless_switched_off(tokenizer, slides):
    plan = plan_of(tokenizer=tokenizer, classes={"tuft": {"values": [1]}})
    assert plan.annotated_for_tokenizer == slides
    classes = json.loads(plan.tokenizer_classes(job()))
    assert list(classes) == (["tuft"] if slides else [])


TO_TEST = Row("e2", Path("e2.tif"), "test")
"""A test slide without annotation."""


@pytest.mark.parametrize(
    ("rows", "splits", "measured"),
    [
        (ROWS, ["test", "predict"], ("test", ["e1"])),
        (ROWS, ["predict"], ("val", ["v1"])),  # test slides have no token maps
        ((*ROWS[:2], TO_TEST), ["test"], ("val", ["v1"])),
        ((ROWS[0], TO_TEST), ["test"], ("val", [])),
    ],
)
def test_the_value_of_tokens_is_measured_on_test_slides_or_else_val(rows, splits, measured):
    models = {"holohisto": HOLOHISTO, "linear": HOLOHISTO | {"embedding": "linear"}, "unet": UNET}
    plan = plan_of(*rows, models=models, infer={"splits": splits})
    assert (plan.token_value_split, plan.token_value_slides) == measured
    assert plan.token_value_models == (["holohisto"] if measured[1] else [])


def test_the_value_of_tokens_is_measured_where_there_are_token_maps():
    assert plan_of(tokens={"mode": "online"}).token_value_models == []
    assert plan_of(tokens={"mode": "window"}).token_value_models == ["holohisto"]
    given = {"holohisto": HOLOHISTO | {"weights": "w.safetensors"}}
    assert plan_of(models=given).token_value_slides == ["e1"]
    assert plan_of(*ROWS[:2], models=given).token_value_models == []  # val slides have no maps


def test_models_with_weights_are_not_trained():
    models = {"unet": UNET, "mine": HOLOHISTO | {"weights": "mine.safetensors"}}
    plan = plan_of(models=models)
    assert plan.to_train == ["unet"]
    assert list(map(str, plan.segmenters)) == [
        "results/models/unet/segmenter.safetensors",
        "mine.safetensors",
    ]


def test_ids_are_listed_only_where_a_class_ends_with_another():
    assert plan_of().slide_pattern() == "[A-Za-z0-9][A-Za-z0-9._-]*"
    rows = (Row("a.1", Path("a"), "test"), Row("b", Path("b"), "test"))
    classes = {"tuft": {"values": [1]}, "outer_tuft": {"values": [2]}}
    assert plan_of(*rows, classes=classes).slide_pattern() == r"a\.1|b"


def test_a_pattern_matches_the_names_or_nothing():
    assert any_of({"a": 1, "b": 2}) == "a|b"
    assert any_of([]) == NOTHING


@pytest.mark.parametrize(
    ("sections", "named"),
    [
        ({}, "the tokenizer, model holohisto would be trained"),
        ({"models": {"unet": UNET}}, "but model unet would be trained"),
        ({"tokenizer": {"checkpoint": "t.safetensors"}}, "but model holohisto would be trained"),
    ],
)
def test_training_without_training_slides_is_an_error(sections, named):
    plan_of(**sections).require_training_slides()
    with pytest.raises(HolohistoError, match=named):
        plan_of(ROWS[2], **sections).require_training_slides()


def test_given_models_need_no_training_slides():
    models = {"unet": UNET | {"weights": "w.safetensors"}}
    plan_of(ROWS[2], models=models).require_training_slides()


def test_several_nodes_are_refused_outside_of_slurm():
    plan_of().require_one_node()
    with pytest.raises(HolohistoError, match=r"for SLURM \(found 2; allowed 1\)"):
        plan_of(train={"nodes": 2}).require_one_node()


def test_every_absent_file_is_listed(tmp_path):
    (tmp_path / "e1.tif").touch()
    rows = (Row("e1", tmp_path / "e1.tif", "test", tmp_path / "e1.png", line=2),)
    models = {
        "unet": UNET | {"weights": str(tmp_path / "w")},
        "deep": {"kind": "deeplabv3plus", "pretrained": str(tmp_path / "r")},
        "winner": {"kind": "masks", "masks": str(tmp_path / "winner/{slide}.png")},
    }
    plan = plan_of(*rows, models=models, slides="s.tsv", tokenizer={"checkpoint": str(tmp_path)})
    expected = [
        f"s.tsv: line 2, column annotation: no such file: {tmp_path}/e1.png",
        f"config: models.unet.weights: no such file: {tmp_path}/w",
        f"config: models.deep.pretrained: no such file: {tmp_path}/r",
        f"config: models.winner.masks, slide e1: no such file: {tmp_path}/winner/e1.png",
    ]
    assert plan.missing_files() == expected
    with pytest.raises(SeveralErrors) as error:
        plan.require_files()
    assert str(error.value).splitlines() == expected


def test_files_of_a_checkpoint_are_inputs_of_the_tokenizer():
    assert plan_of().checkpoint_files == []
    given = plan_of(tokenizer={"checkpoint": "none.safetensors"})
    assert given.checkpoint_files == [Path("none.safetensors")]


def test_mode_online_has_no_token_maps_and_needs_the_tokenizer():
    kept, online = plan_of(), plan_of(tokens={"mode": "online"})
    assert kept.token_maps(["t1", "{slide}"]) == [
        "results/tokens/t1.safetensors",
        "results/tokens/{slide}.safetensors",
    ]
    assert (kept.online_tokenizer, online.token_maps(["t1"])) == ([], [])
    assert online.online_tokenizer == ["results/tokenizer/tokenizer.safetensors"]


def test_files_of_tokens_are_inputs_of_models_that_read_tokens():
    files = plan_of(models={"holohisto": HOLOHISTO, "unet": UNET}).if_over_tokens(["a"])
    assert files(job()) == ["a"]
    assert files(job(model="unet")) == []


def test_a_pretrained_start_is_an_input_of_its_model():
    deep = {"kind": "deeplabv3plus", "pretrained": "r.pth"}
    plan = plan_of(models={"deep": deep, "holohisto": HOLOHISTO})
    assert plan.pretrained(job(model="deep")) == Path("r.pth")
    assert plan.pretrained(job()) == []
    mine = HOLOHISTO | {"pretrained": "mine.safetensors"}
    assert plan_of(models={"holohisto": mine}).pretrained(job()) == Path("mine.safetensors")


def test_the_starter_stands_for_its_files(tmp_path, monkeypatch):
    monkeypatch.setenv("HOLOHISTO_STARTER", str(tmp_path))
    files = [tmp_path / f"{name}.safetensors" for name in ("tokenizer", "segmenter")]
    for file in files:
        file.touch()
    models = {"a": HOLOHISTO | {"weights": "starter"}, "b": HOLOHISTO | {"pretrained": "starter"}}
    plan = plan_of(models=models, tokenizer={"checkpoint": "starter"})
    assert plan.checkpoint_files == [files[0]]
    assert plan.segmenter("a") == files[1]
    assert plan.pretrained(job(model="b")) == files[1]
    assert plan.to_train == ["b"]
    assert not [line for line in plan.missing_files() if line.startswith("config: ")]


def test_cells_and_flags_are_those_of_the_slide():
    plan = plan_of()
    assert plan.cell("annotation")(job()) == Path("e 1.png")
    assert plan.cell("annotation")(job("p1")) == []
    assert plan.flag("--annotation", "annotation")(job()) == "--annotation 'e 1.png'"
    assert plan.flag("--annotation", "annotation")(job("p1")) == ""
    assert plan.flag("--slide-mpp", "mpp")(job("v1")) == "--slide-mpp 0.25"
    assert plan.flag("--annotated", "annotated")(job("t1")) == "--annotated tuft,capsule"


def test_cells_of_several_slides_are_one_text():
    text = plan_of().fields(["t1", "p1"], "slide", "group")
    assert text(None) == '[["t1", "DN"], ["p1", "None"]]'


def test_options_are_the_sections_as_json():
    plan = plan_of(tokens={"orientations": 8, "appearances": 2})
    assert json.loads(plan.options("infer")(None))["overlap"] == plan.settings.infer.overlap
    training = json.loads(plan.token_options(job("t1")))
    other = json.loads(plan.token_options(job("e1")))
    assert (training["orientations"], training["appearances"]) == (8, 2)
    assert (other["orientations"], other["appearances"]) == (1, 0)


def test_masks_of_another_tool_are_not_cleaned():
    winner = {"kind": "masks", "masks": "winner/{slide}.png"}
    mask = {"min_object_um2": 40.0}
    plan = plan_of(models={"winner": winner, "unet": UNET}, mask=mask)
    assert json.loads(plan.mask_options(job(model="unet")))["min_object_um2"] == 40.0
    assert json.loads(plan.mask_options(job(model="winner")))["min_object_um2"] == 0.0


def test_memory_and_time_are_those_of_the_record_and_grow_with_the_attempts(tmp_path):
    plan = plan_of(folder=tmp_path)
    large = need_of("infer", unseen(), "test", plan.settings)
    assert plan.memory("infer")(job(), 1) == large.mem_mb
    assert plan.minutes("infer")(job(), 3) == 3 * large.minutes
    record = unseen().model_copy(update={"size": (800, 600), "working_size": (400, 300)})
    plan.results.record("e1").parent.mkdir()
    plan.results.record("e1").write_text(record.text())
    small = need_of("infer", record, "test", plan.settings)
    assert plan.memory("infer")(job(), 2) == 2 * small.mem_mb
    assert small.mem_mb < large.mem_mb
    assert scaled(2000)(None, 3) == 6000


def test_srun_starts_a_process_for_each_gpu():
    assert not plan_of().several_nodes
    plan = plan_of(train={"nodes": 3, "devices": 2})
    assert plan.several_nodes
    assert plan.srun(job(), 8) == (
        "srun --nodes=3 --ntasks=6 --ntasks-per-node=2 --cpus-per-task=8 --kill-on-bad-exit=1"
    )
    assert plan.gpus_per_node(None) == "--gpus-per-node=2"
    assert plan.gpus_per_node("h200") == "--gpus-per-node=h200:2"


def test_a_plan_is_read_without_excluded_rows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    header = "slide\timage\tannotation\tsplit\texclude\n"
    Path("s.tsv").write_text(header + "a\ta.tif\ta.png\ttrain\t\nb\tb.tif\t\ttest\tyes\n")
    plan = Plan.read({"slides": "s.tsv"})
    assert list(plan.rows) == ["a"]
    Path("s.tsv").write_text(header + "a\ta.tif\t\ttest\t\n")
    with pytest.raises(HolohistoError, match="no slide has the split train"):
        Plan.read({"slides": "s.tsv"})


def test_planning_loads_no_torch():
    code = "import sys, holohisto.planning.workflow; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
