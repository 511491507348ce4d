"""The training loop: learning, threads, schedule, early stop, micro-batches."""

import dataclasses

import numpy as np
import pytest
import torch
from training_runs import OPTIONS, numbers, run, trainer

from holohisto.errors import HolohistoError
from holohisto.training.progress import ValidationRow
from holohisto.training.schedule import learning_rate


@pytest.mark.parametrize("decoder", ["rgb", "tokens"])
def test_it_learns_and_the_best_weights_are_kept(decoder, tmp_path):
    options = OPTIONS.model_copy(update={"steps": 252, "validate_every": 42, "token_dropout": 0.0})
    a_trainer = trainer(options, decoder=decoder)
    rows = run(a_trainer, tmp_path)
    dices = [row.val_dice for row in rows]
    assert rows[-1].loss < 0.4 * rows[0].loss
    assert a_trainer.progress.best_dice == max(dices) > (0.95 if decoder == "rgb" else 0.8)


def test_threads_do_not_change_the_training(tmp_path):
    results = []
    for workers in (0, 3):
        folder = tmp_path / str(workers)
        folder.mkdir()
        options = OPTIONS.model_copy(update={"steps": 18})
        results.append(numbers(run(trainer(options, workers=workers), folder)))
    assert results[0] == results[1]


def test_a_loss_that_is_not_finite_names_the_tiles(tmp_path):
    broken = trainer()
    with torch.no_grad():
        next(broken.raw_model.parameters()).fill_(float("nan"))
    with pytest.raises(HolohistoError, match=r"not finite at step 0.*slide\d at \(\d+, \d+\)"):
        run(broken, tmp_path)


def test_learning_rate_rises_then_falls():
    options = OPTIONS.model_copy(update={"warmup": 0.1, "learning_rate": 1.0, "steps": 100})
    rates = [learning_rate(options, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == pytest.approx(1.0)
    assert rates.index(max(rates)) in (9, 10)
    assert (np.diff(rates[10:]) <= 0).all()
    assert rates[-1] < 0.02


def test_rows_have_the_columns_of_the_table():
    names = [f.name for f in dataclasses.fields(ValidationRow)]
    assert names == [
        "step",
        "loss",
        "learning_rate",
        "val_dice",
        "read_seconds",
        "step_seconds",
        "validation_seconds",
        "memory_mb",
    ]


def test_it_stops_when_the_best_validation_is_too_long_ago(tmp_path, monkeypatch):
    options = OPTIONS.model_copy(update={"patience": 2, "steps": 18, "validate_every": 2})
    a_trainer = trainer(options, decoder="tokens")
    scores = iter([0.3, 0.5, 0.4, 0.5001, 0.2, 0.3, 0.9])
    monkeypatch.setattr(a_trainer, "validate", lambda: next(scores))
    rows = run(a_trainer, tmp_path)
    assert [row.val_dice for row in rows] == [0.3, 0.5, 0.4, 0.5001, 0.2, 0.3]
    assert a_trainer.progress.best_step == 8


@pytest.mark.parametrize("micro_batch", [1, 2, 3])
def test_micro_batches_do_not_alter_the_loss_and_the_gradient_of_a_step(micro_batch):
    """But for the norms' statistics, which are fixed here."""
    losses, gradients = [], []
    for size in (4, micro_batch):
        options = OPTIONS.model_copy(update={"batch": 4, "micro_batch": size, "clip": 1e9})
        a_trainer = trainer(options, decoder="tokens")
        a_trainer.model.eval()
        drawn = a_trainer.batches.read(0)
        assert len({part.tobytes() for part in drawn.batch.target}) > 1
        losses.append(a_trainer.step(drawn))
        gradients.append([p.grad.clone() for p in a_trainer.raw_model.parameters()])
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-5 * float(a.abs().max()) + 1e-9)


def test_norms_see_the_tiles_of_a_step_once():
    options = OPTIONS.model_copy(update={"batch": 4, "micro_batch": 2})
    a_trainer = trainer(options, decoder="tokens")
    norm = next(m for m in a_trainer.raw_model.modules() if isinstance(m, torch.nn.BatchNorm2d))
    a_trainer.model.train()
    a_trainer.step(a_trainer.batches.read(0))
    assert norm.num_batches_tracked == 2
