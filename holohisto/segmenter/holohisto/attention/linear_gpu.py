"""ReLU linear attention for GPUs: all branches and heads at once, in few and large kernels.

The same mathematics as in `linear`, which takes tokens in pieces that stay in a CPU's cache, all in
fp32. Here products are of bf16 and accumulate in fp32, as a GPU's matrix units do; sums over tokens
and denominators are fp32.
"""

from typing import Any

import torch
from torch import Tensor

from holohisto.segmenter.holohisto.attention.heads import like, tokens, wider

EPSILON = 1e-15
"""Added to denominators, as published: a query without a positive component gives 0."""


class JoinedAttention(torch.autograd.Function):
    """Per head, with columns for tokens: S = v relu(k)^T, s = sum_j relu(k_j)^T.

    out = (S relu(q)) / (s relu(q)); nothing as long as the tokens is kept but the input.
    """

    @staticmethod
    def forward(ctx: Any, head: int, *branches: Tensor) -> Tensor:
        """Return attention as `relu_linear_attention` does."""
        out = like(branches[0], branches[0].shape[1] // 3 * len(branches))
        with torch.autocast(out.device.type, enabled=False):
            q, k, v = _queries_keys_values(branches, head)
            s = _wide(v, k.mT).to(q.dtype)
            s_one = k.sum(dim=2, dtype=wider(k)).to(q.dtype)[:, None]
            y, y_one = _through(s, q), _through(s_one, q)
            b = out.shape[0]
            torch.div(_split(y, b), _split(y_one.add_(EPSILON), b), out=tokens(out, head))
        ctx.head = head
        ctx.save_for_backward(*branches, s, s_one)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the branches."""
        *branches, s, s_one = ctx.saved_tensors
        with torch.autocast(grads[0].device.type, enabled=False):
            q, k, v = _queries_keys_values(branches, ctx.head)
            inverse = _through(s_one, q).add_(EPSILON).reciprocal_()
            grad = tokens(grads[0], ctx.head).reshape(q.shape)
            upper = torch.empty_like(q)
            torch.mul(grad, inverse, out=upper)
            weighed = _through(s, q).mul_(upper).sum(dim=1, keepdim=True)
            lower = torch.empty_like(weighed, dtype=q.dtype)
            torch.mul(weighed, inverse.neg_(), out=lower)
            to_q = torch.baddbmm(s_one.mT @ lower, s.mT, upper)
            to_s = _wide(upper, q.mT).to(q.dtype)
            to_s_one = _wide(lower, q.mT).to(q.dtype)
            to_k = torch.baddbmm(to_s_one.mT, to_s.mT, v)
            gradients = like(branches[0], branches[0].shape[1] * len(branches))
            grad_q, grad_k, grad_v = tokens(gradients, 3, ctx.head).unbind(2)
            b = gradients.shape[0]
            _relu_backward(_split(to_q, b), _split(q, b), grad_q)
            _relu_backward(_split(to_k, b), _split(k, b), grad_k)
            grad_v.copy_(_split(to_s @ k, b))
        return None, *gradients.chunk(len(branches), dim=1)


def _queries_keys_values(branches: Any, head: int) -> tuple[Tensor, ...]:
    """Return relu(q), relu(k) and v of all branches' heads, each (B * heads, d, N)."""
    together = tokens(torch.cat(branches, dim=1), 3, head)  # (B, heads, 3, d, N)
    together[:, :, :2].relu_()
    return tuple(x.flatten(0, 1) for x in together.unbind(2))


def _wide(a: Tensor, b: Tensor) -> Tensor:
    """Batched product that accumulates in, and returns, fp32 or wider."""
    if a.is_cuda and a.dtype != wider(a):
        return torch.bmm(a, b, out_dtype=wider(a))
    return a.to(wider(a)) @ b.to(wider(a))


def _through(s: Tensor, q: Tensor) -> Tensor:
    """S q in fp32, (B * heads, rows, N), laid out as q is."""
    return _wide(s, q) if q.stride(2) == 1 else _wide(q.mT, s.mT).mT


def _relu_backward(gradient: Tensor, positive: Tensor, out: Tensor) -> None:
    """Write the gradient where relu's result is positive, and 0 elsewhere."""
    torch.ops.aten.threshold_backward.grad_input(gradient, positive, 0, grad_input=out)


def _split(x: Tensor, tiles: int) -> Tensor:
    """(B * heads, d, N) -> (B, heads, d, N), B = `tiles`."""
    return x.unflatten(0, (tiles, -1))
