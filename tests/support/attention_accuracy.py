"""Accuracy of linear attention at the length of a whole 4K tile."""

import torch

from holohisto.segmenter.holohisto.attention.linear import relu_linear_attention


def branch(q, k, v, height):
    """Lay q, k and v (B, heads, N, d) out as a layer does: (B, heads * 3 * d, height, width)."""
    b, _, n, _ = q.shape
    together = torch.stack([q, k, v], dim=2).transpose(3, 4)  # (B, heads, 3, d, N)
    return together.reshape(b, -1, height, n // height)


def attend(q, k, v, height=1):
    out = relu_linear_attention([branch(q, k, v, height)], q.shape[3])
    return out.reshape(*q.shape[:2], q.shape[3], -1).transpose(2, 3)


def require_close_at_35344_tokens(dtype, device):
    """Under autocast: finite with its gradient, and close to what fp64 gives."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(3, 1, 2, 35_344, 16, device=device) * 4).to(dtype)
    x = branch(q, k, v, 188).requires_grad_()
    with torch.autocast(device, dtype):
        out = relu_linear_attention([x], 16)
        out.float().square().sum().backward()
    exact = attend(q.double(), k.double(), v.double(), height=188)
    found = out.reshape(1, 2, 16, -1).transpose(2, 3)
    assert out.dtype == dtype
    assert torch.isfinite(out).all()
    assert torch.isfinite(x.grad).all()
    assert (found.double() - exact).norm() / exact.norm() < 1e-2
