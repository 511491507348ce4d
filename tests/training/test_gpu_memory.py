"""The memory of a step is counted before a training starts, and decides how it runs."""

import logging

import pytest
import torch
from baseline_networks import KINDS, TOYS
from training_runs import OPTIONS, slide

from holohisto.config.models import HolohistoModel
from holohisto.config.training import TrainOptions
from holohisto.segmenter.file import build_segmenter
from holohisto.training.gpu_memory import (
    USABLE,
    StepMemory,
    out_of_memory,
    prepare_memory,
    step_memory,
)
from holohisto.training.loss import dice_bce, pixel_sums
from holohisto.training.sampler import SamplingArea
from holohisto.training.schedule import StepPlan

GB = 10**9


def built(options=None):
    torch.manual_seed(0)
    return build_segmenter(options or HolohistoModel(size="T"), torch.randn(32, 4), 16, 1)


def planned(model, **changes):
    return StepPlan.of(model, [slide(1).area], OPTIONS.model_copy(update=changes), 1)


def test_counted_is_what_autograd_keeps_of_real_tensors():
    """By hand: the same step on tensors with memory, in the same precision."""
    model = built().train()
    plan = planned(model)
    width, height = plan.tile
    kept = {}
    alive = []

    def pack(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        alive.append(tensor)
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", torch.bfloat16):
        tokens = torch.zeros(1, height // 16, width // 16, dtype=torch.int64)
        rgb = torch.zeros(1, 3, height, width, dtype=torch.uint8)
        target = torch.zeros(1, 1, height, width, dtype=torch.bool)
        logits = model(tokens, rgb, size=(height, width))
        dice_bce(pixel_sums(logits, target, torch.ones_like(target)))
    own = {weight.data_ptr() for weight in model.parameters()}
    expected = sum(nbytes for pointer, nbytes in kept.items() if pointer not in own)
    found = step_memory(model, plan, 1)
    assert found.tile == pytest.approx(1.25 * expected, rel=0.02)
    assert found.states == 20 * sum(weight.numel() for weight in model.parameters())


def test_counting_changes_no_weight_and_no_statistic():
    model = built().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    step_memory(model, planned(model), 1)
    assert not model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("kind", KINDS)
def test_every_network_can_be_counted(kind):
    model = built(TOYS[kind])
    memory = step_memory(model, planned(model), 1)
    assert memory.tile > 3 * 96 * 64
    twice = step_memory(model, planned(model, tile=(192, 64)), 1)
    if kind not in ("unetr", "sam_vit_b", "sam_vit_h"):  # tiles of these have a size of their own
        assert twice.tile >= memory.tile


def test_size_b_at_its_defaults_fits_80_gb_by_recomputing_and_s_without():
    area = slide(1).area
    areas = [SamplingArea((45_003, 46_001), 16, area.foreground, area.annotated)]
    for size, recomputed in (("S", False), ("B", True)):
        model = built(HolohistoModel(size=size))
        plan = StepPlan.of(model, areas, TrainOptions(), 1)
        prepare_memory(model, plan, 1, None, 80 * GB)
        assert model.backbone.activation_checkpointing is recomputed
        assert step_memory(model, plan, 1).of(plan.micro_batch) < USABLE * 80 * GB
        assert plan.micro_batch == 8


@pytest.mark.parametrize(
    ("wanted", "memory", "expected"),
    [
        (None, None, False),
        (None, 80 * GB, False),
        (None, 1, True),
        (False, 1, False),
        (True, 80 * GB, True),
        (True, None, True),
    ],
)
def test_activations_are_recomputed_where_wanted_or_needed(wanted, memory, expected):
    model = built()
    prepare_memory(model, planned(model), 1, wanted, memory)
    assert model.backbone.activation_checkpointing is expected


def test_it_says_whether_a_step_fits_and_which_option_makes_it_fit(caplog):
    model = built()
    plan = planned(model, batch=8)
    needed = step_memory(model, plan, 1)
    caplog.set_level(logging.INFO)
    prepare_memory(model, plan, 1, False, 80 * GB)
    assert "8 tiles of 96 x 64 px at a time need about" in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    prepare_memory(model, plan, 1, False, round(needed.of(3) / USABLE))
    assert "if it runs out of memory, set train.micro_batch: 2" in caplog.text
    prepare_memory(model, plan, 1, False, 1)
    assert "choose a smaller tile" in caplog.text


def test_the_largest_micro_batch_that_fits():
    memory = StepMemory(states=100, tile=10)
    found = [memory.largest(most, 8) for most in (180, 179, 140, 139, 110, 109)]
    assert found == [8, 4, 4, 2, 1, None]


def test_running_out_of_memory_is_one_line_with_the_option_that_helps():
    text = str(out_of_memory(planned(built(), batch=8)))
    assert "out of memory" in text
    assert "8 tiles of 96 x 64 px" in text
    assert "train.micro_batch: 4" in text
    assert "\n" not in text
