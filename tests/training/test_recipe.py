"""Recipes of training: optimiser, learning rates by layer and step, deep supervision."""

import numpy as np
import pytest
import torch
from baseline_networks import built, pixels
from lightning_fabric import Fabric
from training_runs import OPTIONS, slide

from holohisto.segmenter.baselines.dynunet import head_weights
from holohisto.segmenter.holohisto.decoder import resize
from holohisto.training.loss import dice_bce, pixel_sums
from holohisto.training.recipe import LOWEST_RATE, parameter_groups, recipe_of
from holohisto.training.trainer import Trainer


def trainer(model, **changes):
    fabric = Fabric(accelerator="cpu", devices=1)
    options = OPTIONS.model_copy(update=changes)
    return Trainer(model, [slide(1), slide(2)], [], options, 0, fabric, 1)


def test_dynunet_has_the_optimiser_of_nnunet():
    """SGD, Nesterov momentum 0.99, weight decay 3e-5, clipping at 12, whatever `train` states."""
    a_trainer = trainer(built("dynunet", 1).train(), clip=0.1)
    optimiser = a_trainer.optimiser.optimizer
    assert type(optimiser) is torch.optim.SGD
    (group,) = optimiser.param_groups
    settings = {k: group[k] for k in ("lr", "momentum", "nesterov", "weight_decay")}
    assert settings == {"lr": 0.01, "momentum": 0.99, "nesterov": True, "weight_decay": 3e-5}
    assert len(group["params"]) == len(list(a_trainer.raw_model.parameters()))
    assert a_trainer.recipe.clip == 12


def test_its_learning_rate_decays_polynomially():
    recipe = recipe_of(built("dynunet"), OPTIONS.model_copy(update={"steps": 1000}))
    rates = [recipe.learning_rate(step) for step in (0, 100, 500, 999, 1000)]
    expected = [0.01, 0.01 * 0.9**0.9, 0.01 * 0.5**0.9, 0.01 * 0.001**0.9, 0]
    assert rates == pytest.approx(expected)
    a_trainer = trainer(built("dynunet", 1).train(), steps=10, validate_every=10)
    for step in range(3):
        a_trainer.step(a_trainer.batches.read(step))
        assert a_trainer.optimiser.param_groups[0]["lr"] == 0.01 * (1 - step / 10) ** 0.9


def test_other_networks_keep_adamw_and_the_cosine():
    a_trainer = trainer(built("unet", 1).train(), weight_decay=0.07)
    optimiser = a_trainer.optimiser.optimizer
    assert type(optimiser) is torch.optim.AdamW
    assert [(g["weight_decay"], g["share"]) for g in optimiser.param_groups] == [(0.07, 1), (0, 1)]
    assert all(p.ndim > 1 for p in optimiser.param_groups[0]["params"])
    assert a_trainer.recipe.clip == OPTIONS.clip


def test_weights_of_the_outputs_halve_and_the_coarsest_has_none():
    assert head_weights(9) == pytest.approx([0.5**k / (2 - 0.5**6) for k in range(7)])
    assert head_weights(4) == pytest.approx([2 / 3, 1 / 3])
    assert head_weights(3) == (1.0,)


def test_deep_supervision_is_in_the_loss_of_training_alone():
    model, rgb = built("dynunet", 2), pixels(64, 96, batch=2)
    with torch.no_grad():
        seen = []
        model.network.heads[0].register_forward_hook(lambda *given: seen.append(given[2]))
        assert model(None, rgb, (64, 96)).shape == (2, 2, 64, 96)
        assert seen == []
        both = model.train()(None, rgb, (64, 96))
        assert both.shape == (2, 4, 64, 96)  # full and half resolution
        assert seen[0].shape == (2, 2, 32, 48)
        torch.testing.assert_close(both[:, 2:], resize(seen[0], (64, 96)))
    a_trainer = trainer(built("dynunet", 1).train())
    drawn = a_trainer.batches.read(0)
    batch = drawn.on(torch.device("cpu"))
    target, known = torch.from_numpy(batch.target), torch.from_numpy(batch.known)
    with torch.no_grad():
        logits = a_trainer.raw_model(None, batch.rgb, target.shape[2:])
        fine, coarse = (
            dice_bce(pixel_sums(logits[:, k : k + 1], target, known)).item() for k in (0, 1)
        )
    assert fine != pytest.approx(coarse, rel=1e-3)
    assert a_trainer.step(drawn) == pytest.approx(2 / 3 * fine + 1 / 3 * coarse, rel=1e-5)
    head = a_trainer.raw_model.network.heads[0]
    assert head.weight.grad.abs().sum() > 0
    assert len(a_trainer.raw_model.network.heads) == 1


def test_outputs_of_binary_networks_stay_in_the_order_of_the_classes():
    """All classes at full resolution come first, so that targets repeat in that order."""
    model, rgb = built("dynunet", 2, per_class=True), pixels(64, 96, batch=2)
    model.train()
    with torch.no_grad():
        out = model(None, rgb, (64, 96))
        second = model.networks[1]((rgb.float() - model.mean) / model.spread)
    assert out.shape == (2, 4, 64, 96)
    torch.testing.assert_close(out[:, [1, 3]], second, rtol=1e-4, atol=1e-4)


KINDS = ("unetr", "swinunetr_v2", "segformer", "deeplabv3plus", "sam_vit_b")


@pytest.mark.parametrize("kind", KINDS)
def test_layers_of_a_pretrained_backbone_learn_the_more_slowly_the_earlier(kind, tmp_path):
    scratch = built(kind, 1)
    assert {g["share"] for g in parameter_groups(scratch, 0.05)} == {1.0}
    model = built(kind, 1, pretrained=tmp_path / "weights.pth")
    groups = parameter_groups(model, 0.05)
    shares = {p: g["share"] for g in groups for p in g["params"]}
    assert len(shares) == sum(len(g["params"]) for g in groups) == len(list(model.parameters()))
    (backbone,) = model.pretrained_backbones
    own = dict(backbone.named_parameters())
    assert {shares[p] for p in model.parameters() if p not in set(own.values())} == {1.0}
    inside = [shares[p] for p in own.values()]
    assert min(inside) == pytest.approx(LOWEST_RATE) == pytest.approx(0.03168, abs=1e-5)
    assert max(inside) == 1.0
    first = {
        "unetr": "patch_embedding",
        "swinunetr_v2": "patch_embed",
        "segformer": "stages.0.patch_embeddings",
        "deeplabv3plus": "conv1",
        "sam_vit_b": "pos_embed",
    }[kind]
    assert min(shares[p] for n, p in own.items() if n.startswith(first)) < 0.06
    decayed = {p for g in groups if g["weight_decay"] for p in g["params"]}
    assert decayed == {p for p in model.parameters() if p.ndim > 1}


def test_rates_of_resnets_stages_rise_and_reach_the_optimiser(tmp_path):
    model = built("deeplabv3plus", 1, pretrained=tmp_path / "weights.pth").train()
    a_trainer = trainer(model, steps=100, validate_every=100, warmup=0.0)
    (backbone,) = model.pretrained_backbones
    groups = a_trainer.optimiser.param_groups
    shares = {p: g["share"] for g in groups for p in g["params"]}
    stages = [
        np.mean([shares[p] for p in getattr(backbone, f"layer{k}").parameters()])
        for k in (1, 2, 3, 4)
    ]
    assert stages == sorted(stages)
    a_trainer.step(a_trainer.batches.read(0))
    top = max(group["lr"] for group in groups)
    assert top == pytest.approx(OPTIONS.learning_rate)
    for group in groups:
        assert group["lr"] == pytest.approx(top * group["share"])
