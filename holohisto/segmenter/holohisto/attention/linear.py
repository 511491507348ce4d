"""ReLU linear attention (HoloHisto Eq. 2; EfficientViT, arXiv 2205.14756) and its gradient.

The gradient is written out by hand: a 4K tile has 32,400 tokens, and most of the cost would be what
autograd allocates and keeps. Here only the input, of all arrays of that length, is kept.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from holohisto.segmenter.holohisto.attention.heads import like, tokens, wider
from holohisto.segmenter.holohisto.attention.linear_gpu import EPSILON, JoinedAttention

CHUNK = 4096
"""Tokens per piece on a CPU, so that the working set stays in its cache."""


def relu_linear_attention(branches: Sequence[Tensor], head: int) -> Tensor:
    """Attend with ReLU kernels in time and memory linear in the number of tokens (Eq. 2).

    out_i = relu(q_i) . sum_j relu(k_j)^T v_j / (relu(q_i) . sum_j relu(k_j)), where both sums are
    formed once. They run over N in fp32, under autocast too, and are divided by N, because at
    N = 32,400 sums in fp16 overflow.

    Args:
        branches: Each (B, heads * 3 * head, H, W) of any floating dtype; a head's q, k and v lie
            together. Every branch attends within itself, over its N = H * W tokens.
        head: Channels d of a head.

    Returns:
        (B, branches * heads * head, H, W), of the branches' dtype.
    """
    if torch.jit.is_tracing():  # pyright: ignore
        return _traceable(torch.cat(list(branches), dim=1), head)
    function = JoinedAttention if _joined(branches[0]) else _Attention
    out: Any = function.apply(head, *branches)
    return out


def _traceable(x: Tensor, head: int) -> Tensor:
    """The same without pieces, whose number a traced graph would keep for every size of tile."""
    q, k, v = tokens(x, 3, head).unbind(2)
    k = torch.relu(k)
    s = torch.cat([v, torch.ones_like(v[:, :, :1])], dim=2) @ k.transpose(2, 3) / k.shape[3]
    y = s @ torch.relu(q)
    return (y[:, :, :-1] / (y[:, :, -1:] + EPSILON)).flatten(1, 2).unflatten(2, x.shape[2:])


def _joined(x: Tensor) -> bool:
    """Return whether to use the GPU's kernels; their sums in fp16 could overflow."""
    return x.is_cuda and x.dtype != torch.float16


class _Attention(torch.autograd.Function):
    """Per head, with columns for tokens: y = S relu(q), S = 1/N [v; 1] relu(k)^T, out = y_d / y_1.

    S is (d + 1, d); y_d are the first d rows of y, y_1 is the last.
    """

    @staticmethod
    def forward(ctx: Any, head: int, *branches: Tensor) -> Tensor:
        width = branches[0].shape[1] // 3
        out = like(branches[0], width * len(branches))
        sums = []
        with torch.autocast(out.device.type, enabled=False):
            for branch, joined in zip(branches, out.split(width, dim=1), strict=True):
                q, k, v = tokens(branch, 3, head).unbind(2)
                sums.append(_sums(k, v))
                for q_, out_ in _chunks(q, tokens(joined, head)):
                    y = sums[-1] @ _relu(q_)
                    out_.copy_(y[:, :, :-1] / (y[:, :, -1:] + EPSILON))
        ctx.head = head
        ctx.save_for_backward(*branches, *sums)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        saved, head = ctx.saved_tensors, ctx.head  # each access unpacks: once only
        count = len(saved) // 2
        branches, sums = saved[:count], saved[count:]
        gradients = [torch.empty_like(branch) for branch in branches]
        with torch.autocast(grads[0].device.type, enabled=False):
            of_branches = grads[0].chunk(count, dim=1)
            for branch, s, grad, out in zip(branches, sums, of_branches, gradients, strict=True):
                q, k, v = tokens(branch, 3, head).unbind(2)
                grad_q, grad_k, grad_v = tokens(out, 3, head).unbind(2)
                grad_s = torch.zeros_like(s)
                for q_, grad_, grad_q_ in _chunks(q, tokens(grad, head), grad_q):
                    q_ = _relu(q_)
                    grad_y = _divide_backward(s @ q_, grad_)
                    grad_s += grad_y @ q_.transpose(2, 3)
                    grad_q_.copy_((s.transpose(2, 3) @ grad_y).mul_(q_ > 0))
                grad_s /= q.shape[3]
                to_v, to_one = grad_s[:, :, :-1], grad_s[:, :, -1:]
                for k_, v_, grad_k_, grad_v_ in _chunks(k, v, grad_k, grad_v):
                    k_ = _relu(k_)
                    grad_v_.copy_(to_v @ k_)
                    grad_k_.copy_(
                        (to_v.transpose(2, 3) @ v_.to(k_.dtype))
                        .add_(to_one.transpose(2, 3))
                        .mul_(k_ > 0)
                    )
        return None, *gradients


def _sums(k: Tensor, v: Tensor) -> Tensor:
    """Return S of keys and values (B, heads, d, N): (B, heads, d + 1, d) in fp32 or better."""
    b, heads, head, n = k.shape
    wide = wider(k)
    s = k.new_zeros((b, heads, head + 1, head), dtype=wide)
    for k_, v_ in _chunks(k, v):
        k_ = _relu(k_)
        s[:, :, :-1] += v_.to(wide) @ k_.transpose(2, 3)
        s[:, :, -1] += k_.sum(dim=3)
    return s.div_(n)


def _divide_backward(y: Tensor, grad: Tensor) -> Tensor:
    """Bring the gradient of y_d / y_1 back to y: (B, heads, d, n) -> (B, heads, d + 1, n)."""
    inverse = (y[:, :, -1:] + EPSILON).reciprocal_()
    upper = grad.to(y.dtype) * inverse
    lower = (y[:, :, :-1] * upper).sum(dim=2, keepdim=True).mul_(inverse).neg_()
    return torch.cat([upper, lower], dim=2)


def _relu(x: Tensor) -> Tensor:
    return torch.relu(x.to(wider(x)))


def _chunks(*views: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Cut (B, heads, d, N) along N; a GPU takes all at once."""
    step = views[0].shape[3] if views[0].is_cuda else CHUNK
    return zip(*(view.split(step, dim=3) for view in views), strict=True)
