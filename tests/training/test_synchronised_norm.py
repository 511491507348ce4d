"""Batch norm over ranks computes what batch norm does, and keeps no more for the backward pass."""

import copy

import pytest
import torch
from torch import nn

from holohisto.training.synchronised_norm import SynchronisedNorm, synchronise_norms

SHAPE = (3, 5, 7, 11)


def random_norm(dtype=torch.float64):
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(SHAPE[1], eps=1e-3, momentum=0.2)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm.to(dtype)


def pixels(dtype=torch.float64):
    return (3 + 2 * torch.randn(SHAPE, dtype=torch.float64)).to(dtype)


def step(norm, x, grad):
    """Output, gradients and running statistics of a forward and a backward pass."""
    x = x.clone().requires_grad_()
    out = norm(x)
    out.backward(grad)
    found = (out, x.grad, norm.weight.grad, norm.bias.grad, norm.running_mean, norm.running_var)
    return [value.detach().clone() for value in found]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_one_rank_computes_batch_norm(layout):
    norm, x = random_norm(), pixels().contiguous(memory_format=layout)
    grad = torch.randn_like(x)
    expected = step(copy.deepcopy(norm), x, grad)
    found = step(SynchronisedNorm.replacing(norm), x, grad)
    for value, exact in zip(found, expected, strict=True):
        torch.testing.assert_close(value, exact, rtol=0, atol=1e-12)


def test_gradients_are_those_of_finite_differences():
    norm = SynchronisedNorm.replacing(random_norm())
    norm.momentum = 0.0
    torch.autograd.gradcheck(norm, pixels()[:, :, :3, :2].requires_grad_())


def test_bf16_differs_by_rounding():
    """Outputs and gradients of the input are rounded to 8 bits, the sums are not."""
    norm, x = random_norm(torch.float32), pixels(torch.bfloat16)
    grad = torch.randn_like(x)
    exact = step(copy.deepcopy(norm).double(), x.double(), grad.double())
    found = step(SynchronisedNorm.replacing(norm), x, grad)
    assert [value.dtype for value in found] == 2 * [torch.bfloat16] + 4 * [torch.float32]
    for value, expected in zip(found[:2], exact[:2], strict=True):
        torch.testing.assert_close(value.double(), expected, rtol=0.01, atol=0.02)
    for value, expected in zip(found[2:], exact[2:], strict=True):
        torch.testing.assert_close(value.double(), expected, rtol=1e-4, atol=1e-4)


def test_a_constant_channel_far_from_zero_has_no_variance():
    norm = SynchronisedNorm.replacing(random_norm(torch.float32))
    x = pixels(torch.float32)
    x[:, 2] = 97.3
    out = norm(x)
    torch.testing.assert_close(out[:, 2], norm.bias[2].expand_as(out[:, 2]), atol=1e-3, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_only_the_input_is_kept_for_the_backward_pass(dtype):
    norm = SynchronisedNorm.replacing(random_norm(torch.float32))
    x = pixels(dtype).requires_grad_()
    kept = []

    def pack(tensor):
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = norm(x)
    large = [tensor for tensor in kept if tensor.numel() == x.numel()]
    assert [tensor.data_ptr() for tensor in large] == [x.data_ptr()]
    assert sum(tensor.numel() for tensor in kept) <= x.numel() + 3 * SHAPE[1] + 1
    assert out.dtype == dtype


def test_evaluation_uses_the_running_statistics():
    norm, x = random_norm(), pixels()
    torch.nn.init.uniform_(norm.running_mean)
    expected = copy.deepcopy(norm).eval()(x)
    found = SynchronisedNorm.replacing(norm.eval())(x)
    assert torch.equal(found, expected)


def test_a_norm_used_twice_stays_one():
    norm = random_norm()
    model = nn.Sequential(norm, nn.Sequential(norm), nn.ReLU())
    synchronise_norms(model)
    assert isinstance(model[0], SynchronisedNorm)
    assert model[1][0] is model[0]
    assert model[0].weight is norm.weight
