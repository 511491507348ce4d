"""Training the networks over pixels: learning, resuming, steps of equal pixels."""

import numpy as np
import pytest
import torch
from baseline_networks import KINDS, TILE, TOYS, built, pixels
from lightning_fabric import Fabric
from training_runs import OPTIONS, SIZE, numbers, run, slide

from holohisto.config.augmentation import Augmentation
from holohisto.segmenter.baselines import pretrained
from holohisto.segmenter.card import ModelCard
from holohisto.segmenter.file import build_segmenter, load_segmenter, save_segmenter
from holohisto.training.loss import dice_bce
from holohisto.training.trainer import Trainer

CPU = torch.device("cpu")
OWN_STAIN = Augmentation(
    channel_mixing=0, greyscale_share=0, permutation_share=0, stain_jitter=0.05
)
"""So few steps are not enough to learn any stain."""


def trainer(kind, tmp_path, options=OPTIONS, **changes):
    torch.manual_seed(0)
    model = build_segmenter(TOYS[kind].model_copy(update=changes), None, 1, 1)
    fabric = Fabric(accelerator="cpu", devices=1)
    return Trainer(model, [slide(1), slide(2)], [slide(3)], options, 0, fabric, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_each_learns_and_its_file_keeps_it(kind, tmp_path):
    every = {"swinunetr_v2": 9, "unet": 21}.get(kind, 14)  # by their speed
    options = OPTIONS.model_copy(
        update={
            "steps": 4 * every,
            "validate_every": every,
            "learning_rate": 1e-2,
            "augmentation": OWN_STAIN,
        }
    )
    a_trainer = trainer(kind, tmp_path, options)
    rows = run(a_trainer, tmp_path)
    assert rows[-1].loss < 0.9 * rows[0].loss
    assert a_trainer.progress.best_dice > 0.6
    path = tmp_path / "segmenter.safetensors"
    card = ModelCard(
        name=kind,
        options=TOYS[kind],
        classes=("a",),
        mpp=0.5,
        tile=TILE,
        tokenizer=None,
        downscale=1,
        mode="frozen",
        precision=None,
        summary={"pretrained": pretrained.SCRATCH},
    )
    save_segmenter(a_trainer.progress.best, card, path)
    again, found, _ = load_segmenter(path)
    assert found == card
    a_trainer.average.model.load_state_dict(a_trainer.progress.best)
    rgb = pixels(61, 90)
    with torch.no_grad():
        assert torch.equal(again(None, rgb, (61, 90)), a_trainer.average.model(None, rgb, (61, 90)))


@pytest.mark.parametrize("kind", ["segformer", "deeplabv3plus"])
def test_with_dropout_too_resumed_equals_uninterrupted(kind, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    options = OPTIONS.model_copy(update={"steps": 18})
    rows = run(trainer(kind, tmp_path, options), tmp_path / "a")
    run(trainer(kind, tmp_path, options), tmp_path / "b", validations=1)
    torch.rand(7)  # whatever happened in between
    resumed = trainer(kind, tmp_path, options)
    assert numbers(run(resumed, tmp_path / "b")) == numbers(rows)


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_is_trained(kind):
    """Parameters that get no gradient would stop training on several devices."""
    model = built(kind).train()
    model(None, pixels(64, 96, batch=2), (64, 96)).square().mean().backward()
    idle = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert idle == []


def test_a_step_sees_as_many_pixels_with_another_tile(tmp_path):
    small = trainer("unet", tmp_path, tile=(48, 32))
    usual = trainer("unet", tmp_path)
    assert (usual.plan.batch, small.plan.batch) == (OPTIONS.batch, 4 * OPTIONS.batch)
    assert small.plan.tile == (48, 32)
    assert small.plan.batch * 48 * 32 == usual.plan.batch * 96 * 64
    batch = small.batches.read(0).on(CPU)
    assert batch.rgb.shape == (8, 3, 32, 48)
    large = trainer("unet", tmp_path, tile=(5000, 5000))
    assert large.plan.tile == (336, 256)  # the slides' size, in whole snaps
    assert large.plan.batch == 1


def test_micro_batches_add_up_to_the_loss_of_the_step(tmp_path):
    options = OPTIONS.model_copy(update={"batch": 6, "clip": 1e9})
    a_trainer = trainer("unet", tmp_path, options, micro_batch=4)
    assert a_trainer.plan.micro_batches == 2
    drawn = a_trainer.batches.read(0)
    batch = drawn.on(CPU)
    parts = batch.split(2)
    assert [part.names for part in parts] == [batch.names[:3], batch.names[3:]]
    np.testing.assert_array_equal(np.concatenate([part.rgb for part in parts]), batch.rgb)
    np.testing.assert_array_equal(np.concatenate([part.target for part in parts]), batch.target)
    assert parts[0].tokens is None
    loss = dice_bce(a_trainer.sums(parts[0]) + a_trainer.sums(parts[1]))
    expected = torch.autograd.grad(loss, list(a_trainer.raw_model.parameters()))
    assert a_trainer.step(drawn) == pytest.approx(loss.item(), rel=1e-6)
    for parameter, gradient in zip(a_trainer.raw_model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-7)


def test_the_slides_of_these_tests_are_no_multiple_of_anything():
    assert all(side % 16 for side in SIZE)
