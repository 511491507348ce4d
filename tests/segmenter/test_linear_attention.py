"""ReLU linear attention: Eq. 2, gradients, precision, the multi-scale layer."""

import efficientvit
import pytest
import torch
from attention_accuracy import attend, branch, require_close_at_35344_tokens

from holohisto.errors import HolohistoError
from holohisto.segmenter.holohisto.attention import linear
from holohisto.segmenter.holohisto.attention.linear import relu_linear_attention
from holohisto.segmenter.holohisto.attention.multi_scale import MultiScaleAttention


def quadratic(q, k, v):
    """The same attention with its N x N weights written out: (B, heads, N, d)."""
    weights = torch.relu(q) @ torch.relu(k).transpose(2, 3)
    return weights @ v / weights.sum(dim=3, keepdim=True)


def equation_2(q, k, v):
    """Eq. 2 token by token, with its two sums formed once."""
    kv = torch.einsum("bhjd,bhje->bhde", torch.relu(k), v)
    total = torch.relu(k).sum(dim=2)
    rows = []
    for i in range(q.shape[2]):
        upper = torch.einsum("bhd,bhde->bhe", torch.relu(q[:, :, i]), kv)
        rows.append(upper / (torch.relu(q[:, :, i]) * total).sum(dim=2, keepdim=True))
    return torch.stack(rows, dim=2)


@pytest.fixture(params=["in pieces", "joined"])
def way(request, monkeypatch):
    """Both ways to compute it: that of CPUs and that of GPUs."""
    monkeypatch.setattr(linear, "_joined", lambda x: request.param == "joined")
    return request.param


@pytest.mark.parametrize("scale", [1, 1e-4, 1e4])
def test_linear_attention_is_its_quadratic_form_and_equation_2(scale, way):
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 4, 300, 16)
    found = attend(q * scale, k * scale, v, height=15)
    exact = quadratic(q.double(), k.double(), v.double())
    torch.testing.assert_close(equation_2(q.double(), k.double(), v.double()), exact)
    torch.testing.assert_close(found, exact.float(), rtol=1e-5, atol=1e-5)


def test_attention_does_not_depend_on_chunks_or_memory_format(monkeypatch, way):
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 4, 300, 16)
    pair = [branch(q, k, v, 15), branch(k, v, q, 15)]
    whole = relu_linear_attention(pair, 16)
    torch.testing.assert_close(whole[:, 64:], relu_linear_attention(pair[1:], 16))
    monkeypatch.setattr(linear, "CHUNK", 7)
    last = [part.contiguous(memory_format=torch.channels_last) for part in pair]
    found = relu_linear_attention(last, 16)
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found, whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("last", [False, True])
def test_gradient_of_attention_is_that_of_its_quadratic_form(monkeypatch, way, last):
    monkeypatch.setattr(linear, "CHUNK", 5)
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 2, 12, 4, dtype=torch.float64)
    q[0, 0, 3] = -1  # a query without positive part
    memory_format = torch.channels_last if last else torch.contiguous_format
    x = branch(q, k, v, 3).contiguous(memory_format=memory_format).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: relu_linear_attention([x, 2 * x], 4), x)


def test_a_query_without_positive_part_gives_zero(way):
    q, k, v = torch.randn(3, 1, 1, 10, 4)
    q[0, 0, 3] = -1
    out = attend(q, k, v)
    assert (out[0, 0, 3] == 0).all()
    assert torch.isfinite(out).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_attention_is_finite_and_close_at_35344_tokens_under_autocast(dtype, way):
    if way == "joined" and dtype == torch.float16:
        pytest.skip("fp16 is never computed so")
    require_close_at_35344_tokens(dtype, "cpu")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_layer_is_finite_and_close_at_35344_tokens_under_autocast(dtype):
    torch.manual_seed(0)
    layer = MultiScaleAttention(16, 16).eval().requires_grad_(False)
    x = torch.randn(1, 16, 188, 188) * 30
    with torch.autocast("cpu", dtype):
        out = layer(x)
    exact = layer.double()(x.double())
    assert torch.isfinite(out).all()
    assert (out.double() - exact).norm() / exact.norm() < 2e-2


def test_multi_scale_attention_has_three_branches_with_a_heads_q_k_v_together():
    torch.manual_seed(0)
    layer = MultiScaleAttention(32, 16).eval()
    x = torch.randn(1, 32, 5, 7)
    branches = [layer.qkv(x)]
    branches += [aggregate(branches[0]) for aggregate in layer.aggregate]
    heads = []
    for branch_ in branches:
        for head in range(2):
            q, k, v = (
                branch_[:, 48 * head + 16 * i : 48 * head + 16 * (i + 1)].flatten(2).transpose(1, 2)
                for i in range(3)
            )
            heads.append(quadratic(q[:, None], k[:, None], v[:, None])[:, 0])
    expected = torch.cat(heads, dim=2).transpose(1, 2).reshape(1, 96, 5, 7)
    torch.testing.assert_close(layer(x), layer.project(expected), rtol=1e-3, atol=1e-4)


def litemla():
    """A layer of two heads of one channel in EfficientViT's names and layout, scale 5."""
    x0, x1 = [1.0, 0.0], [0.0, 1.0]
    qkv = [x0, x1, x0, [-1.0, 0.0], x0, x1]  # q, k, v of head 0, then q, k, v of head 1
    depthwise = torch.zeros(6, 1, 5, 5)
    depthwise[:, :, 2, 2] = 1  # as it is, but
    depthwise[2, 0, 2, 2], depthwise[2, 0, 2, 3] = 0, 1  # v of head 0 is its right neighbour's
    mix = torch.ones(6, 1, 1, 1)
    mix[5] = 3  # v of head 1 is three times as large
    # of the heads raw 0, raw 1, scale 0, scale 1
    project = [[1.0, 0.0, 0.0, 10.0], [0.0, 1.0, -8.0, 0.0]]
    return {
        "qkv.conv.weight": torch.tensor(qkv)[:, :, None, None],
        "aggreg.0.0.weight": depthwise,
        "aggreg.0.1.weight": mix,
        "proj.conv.weight": torch.tensor(project)[:, :, None, None],
        "proj.norm.weight": torch.tensor([2.0, 1.0]),
        "proj.norm.bias": torch.tensor([0.0, 5.0]),
        "proj.norm.running_mean": torch.tensor([1.0, 0.0]),
        "proj.norm.running_var": torch.tensor([4 - 1e-5, 1 - 1e-5]),
        "proj.norm.num_batches_tracked": torch.tensor(1),
    }


def test_efficientvits_weights_give_what_is_computed_by_hand():
    """By hand, with x0 = (1, 2, -1) and x1 = (1, 3, 4) at three positions.

    raw 0:   relu(k) = x1, v = x0: 3/8 where q = x0 > 0                      (3/8, 3/8, 0)
    raw 1:   relu(k) = (1, 2, 0), v = x1: 7/3 where q = -x0 > 0              (0, 0, 7/3)
    scale 0: relu(k) = x1, v = (2, -1, 0): -1/8 where x0 > 0                 (-1/8, -1/8, 0)
    scale 1: relu(k) = (1, 2, 0), v = 3 x1: 7 where -x0 > 0                  (0, 0, 7)
    projected: (3/8, 3/8, 70) and (1, 1, 7/3); then (y - 1) / 2 * 2 and y + 5.
    """
    layer = efficientvit.attention_from(litemla()).eval()
    out = layer(torch.tensor([[1.0, 2.0, -1.0], [1.0, 3.0, 4.0]])[None, :, None])
    expected = torch.tensor([[-5 / 8, -5 / 8, 69.0], [6.0, 6.0, 5 + 7 / 3]])
    torch.testing.assert_close(out[0, :, 0], expected)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("proj.conv.bias", r"no such weight \(found proj.conv.bias"),
        ("qkv.conv.weight", "weights are of no such layer.*qkv"),
    ],
)
def test_weights_of_another_layer_are_refused(name, message):
    weights = litemla()
    if weights.pop(name, None) is None:
        weights[name] = torch.zeros(2)
    with pytest.raises(HolohistoError, match=message):
        efficientvit.attention_from(weights)
