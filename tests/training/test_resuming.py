"""Interrupted trainings: what resumes them bit for bit, and what starts from scratch."""

import signal

import pytest
import torch
from starter_files import segmenter_of, write_segmenter
from training_runs import MIXED, OPTIONS, numbers, run, slide, trainer

from holohisto.config.models import HolohistoModel
from holohisto.config.sections import ClassOptions
from holohisto.config.training import TokensOptions
from holohisto.runtime.results import Results
from holohisto.segmenter.inputs import TileEncoder
from holohisto.tokenizer.architecture import Architecture
from holohisto.tokenizer.vqgan import VQGAN
from holohisto.training.identity import training_identity
from holohisto.training.job import TrainingJob


def test_interrupted_training_equals_uninterrupted_bit_for_bit(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = trainer(MIXED)
    rows = run(whole, tmp_path / "a")
    assert len(rows) == 4
    run(trainer(MIXED), tmp_path / "b", validations=2)
    resumed = trainer(MIXED)
    again = run(resumed, tmp_path / "b")
    assert numbers(again) == numbers(rows)
    for name, value in whole.average.model.state_dict().items():
        assert torch.equal(value, resumed.average.model.state_dict()[name]), name
    for name, value in whole.progress.best.items():
        assert torch.equal(value, resumed.progress.best[name]), name


def test_a_training_that_starts_from_a_segmenter_has_its_weights_and_resumes(tmp_path):
    given, options = segmenter_of(7, 1)
    path = tmp_path / "given.safetensors"
    write_segmenter(path, given, options, ["a"], "t")
    started, scratch = trainer(pretrained=path), trainer()
    for model in (started.raw_model, started.average.model):  # before the first step
        for name, value in model.state_dict().items():
            of = scratch.raw_model if name == "prior.shift" else given
            assert torch.equal(value, of.state_dict()[name]), name
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    rows = run(started, tmp_path / "a")
    run(trainer(pretrained=path), tmp_path / "b", validations=2)
    resumed = trainer(pretrained=path)
    assert numbers(run(resumed, tmp_path / "b")) == numbers(rows)
    assert rows[0].loss != run(scratch, tmp_path, validations=1)[0].loss
    for name, value in started.average.model.state_dict().items():
        assert torch.equal(value, resumed.average.model.state_dict()[name]), name


def test_the_checkpoint_of_another_training_is_not_resumed(tmp_path):
    run(trainer(), tmp_path, validations=2)
    other = trainer()
    first = next(iter(other.run(tmp_path / "checkpoint", "other identity")))
    assert [row.step for row in first] == [9]


@pytest.mark.parametrize(
    "change",
    ["known", "annotation", "foreground", "tokens", "classes", "pretrained", "its content"],
)
def test_a_changed_training_has_another_identity(change, tmp_path):
    def opened(**facts):
        path = tmp_path / "annotation.png"
        path.write_bytes(facts.get("annotation", b"a"))
        a_slide = slide(1, known=facts.get("known", (True,)))
        a_slide.annotation.path = path
        a_slide.tissue.slide.fingerprint = "f"
        if facts.get("foreground"):
            a_slide.area.foreground[0, 0] = False
        if facts.get("tokens"):
            a_slide.token_map.tokens[0][0, 0] += 1
        return {"train": [a_slide], "val": []}

    def identity(slides, values=None, start=None):
        start_file = tmp_path / "start.safetensors"
        start_file.write_text(start or "")
        job = TrainingJob(
            name="m",
            model=HolohistoModel(pretrained=start_file if start else None),
            options=OPTIONS,
            tokens=TokensOptions(),
            classes={"a": ClassOptions(values=values)},
            seed=0,
            sheet=tmp_path / "slides.tsv",
            results=Results(tmp_path),
        )
        return training_identity(job, slides, None)

    changed = {
        "known": lambda: identity(opened(known=(False,))),
        "annotation": lambda: identity(opened(annotation=b"b")),
        "foreground": lambda: identity(opened(foreground=True)),
        "tokens": lambda: identity(opened(tokens=True)),
        "classes": lambda: identity(opened(), values=(3,)),
        "pretrained": lambda: identity(opened(), start="a"),
        "its content": lambda: identity(opened(), start="b"),
    }
    start = "a" if change == "its content" else None
    before = identity(opened(), start=start)
    assert identity(opened(), start=start) == before
    assert changed[change]() != before


def test_another_precision_online_is_another_training(tmp_path):
    tokenizer = VQGAN(
        Architecture(
            channels=8, multipliers=(1, 1, 1, 1, 1), residual_blocks=1, codebook=32, dimension=4
        )
    )
    job = TrainingJob(
        name="m",
        model=HolohistoModel(),
        options=OPTIONS,
        tokens=TokensOptions(mode="online"),
        classes={"a": ClassOptions()},
        seed=0,
        sheet=tmp_path / "slides.tsv",
        results=Results(tmp_path),
    )
    exact, rounded = (
        training_identity(job, {}, TileEncoder(tokenizer, precision))
        for precision in ("fp32", "bf16")
    )
    assert exact != rounded
    assert exact == training_identity(job, {}, TileEncoder(tokenizer, "fp32"))


@pytest.mark.parametrize("content", [b"", b"junk" * 100])
def test_a_damaged_checkpoint_is_not_resumed(content, tmp_path):
    (tmp_path / "checkpoint").write_bytes(content)
    assert len(next(iter(trainer().run(tmp_path / "checkpoint", "identity")))) == 1


@pytest.mark.parametrize("last", [11, 18, 36], ids=["within", "before a validation", "at the end"])
def test_on_sigterm_it_saves_between_steps_and_resumes_bit_for_bit(last, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = trainer(MIXED, decoder="tokens")
    rows = run(whole, tmp_path / "a")
    stopped = trainer(MIXED, decoder="tokens")
    step = stopped.step

    def signalled(batch):
        loss = step(batch)
        if stopped.progress.step == last:
            signal.raise_signal(signal.SIGTERM)
        return loss

    stopped.step = signalled
    with pytest.raises(SystemExit) as ended:
        run(stopped, tmp_path / "b")
    assert ended.value.code == 128 + signal.SIGTERM
    resumed = trainer(MIXED, decoder="tokens")
    assert numbers(run(resumed, tmp_path / "b")) == numbers(rows)
    for name, value in whole.average.model.state_dict().items():
        assert torch.equal(value, resumed.average.model.state_dict()[name]), name
