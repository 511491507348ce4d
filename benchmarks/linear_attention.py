"""ReLU linear attention beside the published LiteMLA, and beside softmax attention.

    python benchmarks/linear_attention.py

The layer against LiteMLA with the same weights, at 135 x 240 and 68 x 120 tokens (both stages of a
4K tile), scales (5,) and (3, 5), forward alone and with backward, in both memory formats (the
segmenter's is NHWC). Targets: no slower, no more memory, the same result. Then attention alone from
1,024 to 35,344 tokens (a 3000 x 3000 region) beside torch's softmax attention. Target: cost grows
like N^1.2 at most.
"""

import math
from functools import partial
from itertools import product

import race
import torch
from efficientvit import attention_from
from torch import Tensor, nn
from torch.nn import functional

from holohisto.segmenter.holohisto.attention.linear import relu_linear_attention

CHANNELS, HEAD = 256, 32
GRIDS = {"135x240": (135, 240), "68x120": (68, 120)}
SCALES = {"(5,)": (5,), "(3,5)": (3, 5)}
SIDES = (32, 64, 94, 133, 188)
"""Squares of 1,024 to 35,344 tokens."""
STEEPEST = 1.2


class ConvLayer(nn.Module):
    """Convolution and, if wanted, batch norm."""

    def __init__(self, cin: int, cout: int, norm: bool) -> None:
        """1x1 without bias."""
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, 1, bias=False)
        self.norm = nn.BatchNorm2d(cout) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, cin, H, W) -> (B, cout, H, W)."""
        return self.norm(self.conv(x))


class LiteMLA(nn.Module):
    """The published layer, its operations one by one and in its order.

    Written after mit-han-lab/efficientvit, efficientvit/models/nn/ops.py (commit 0dcf43d): class
    LiteMLA with norm (None, "bn2d"), no biases, kernel ReLU, its `relu_linear_att`.
    """

    def __init__(self, channels: int, head: int, scales: tuple[int, ...]) -> None:
        """As many heads as channels allow."""
        super().__init__()
        self.head, wide = head, 3 * channels
        self.qkv = ConvLayer(channels, wide, norm=False)
        self.aggreg = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(wide, wide, scale, padding=scale // 2, groups=wide, bias=False),
                nn.Conv2d(wide, wide, 1, groups=wide // head, bias=False),
            )
            for scale in scales
        )
        self.proj = ConvLayer(channels * (1 + len(scales)), channels, norm=True)

    def forward(self, x: Tensor) -> Tensor:
        """Attend over all positions of (B, C, H, W)."""
        qkv = self.qkv(x)
        qkv = torch.cat([qkv, *(aggregate(qkv) for aggregate in self.aggreg)], dim=1)
        b, _, height, width = qkv.shape
        with torch.autocast(x.device.type, enabled=False):
            qkv = torch.reshape(qkv, (b, -1, 3 * self.head, height * width))
            q, k, v = qkv.split(self.head, dim=2)
            q, k = functional.relu(q), functional.relu(k)
            v = functional.pad(v, (0, 0, 0, 1), mode="constant", value=1)
            vk = torch.matmul(v, k.transpose(-1, -2))
            out = torch.matmul(vk, q)
            if out.dtype in (torch.float16, torch.bfloat16):
                out = out.float()
            out = out[:, :, :-1] / (out[:, :, -1:] + 1e-15)
            out = torch.reshape(out, (b, -1, height, width))
        return self.proj(out)


def layers(scales: tuple[int, ...], grid: tuple[int, int], device: str) -> tuple[nn.Module, ...]:
    """Both layers with the same weights, and an input (1, C, H, W)."""
    torch.manual_seed(0)
    published = LiteMLA(CHANNELS, HEAD, scales)
    ours = attention_from(published.state_dict())
    return published.to(device), ours.to(device), torch.randn(1, CHANNELS, *grid, device=device)


def step(layer: nn.Module, x: Tensor, backward: bool) -> Tensor:
    """One pass, under bf16 autocast on a GPU; with `backward` the input's gradient."""
    with torch.autocast(x.device.type, torch.bfloat16, enabled=x.is_cuda):
        if not backward:
            with torch.no_grad():
                return layer(x)
        x = x.detach().requires_grad_()
        loss = layer(x).float().square().mean()
    loss.backward()
    layer.zero_grad()
    assert x.grad is not None
    return x.grad


def layer_race(
    scales: tuple[int, ...], grid: tuple[int, int], backward: bool, last: bool, device: str
) -> race.Contenders:
    """LiteMLA and ours, in the memory format asked for."""
    published, ours, x = layers(scales, grid, device)
    x = x.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
    return {
        "LiteMLA": lambda: step(published, x, backward),
        "ours": lambda: step(ours, x, backward),
    }


def growth_race(side: int, device: str) -> race.Contenders:
    """Softmax attention and ours over side x side tokens, nothing else."""
    torch.manual_seed(0)
    x = torch.randn(1, 3 * CHANNELS, side, side, device=device)
    heads = x.unflatten(1, (-1, 3, HEAD)).flatten(4).transpose(3, 4)
    q, k, v = (part.contiguous() for part in heads.unbind(2))
    return {
        "softmax SDPA": lambda: functional.scaled_dot_product_attention(q, k, v),
        "ours": lambda: relu_linear_attention([x], HEAD),
    }


def slope(points: list[tuple[float, float]]) -> float:
    """Exponent of the power law through (tokens, seconds), by least squares of logarithms."""
    xs, ys = zip(*((math.log(n), math.log(t)) for n, t in points), strict=True)
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    upper = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True))
    return upper / sum((x - mean_x) ** 2 for x in xs)


def same_results(device: str) -> list[str]:
    """Compare results and gradients of both layers; says which differ."""
    missed = []
    for name, scales in SCALES.items():
        published, ours, x = layers(scales, (68, 120), device)
        for backward in (False, True):
            a, b = (step(layer, x, backward) for layer in (published, ours))
            error = float((a - b).norm() / a.norm())
            print(f"{name} {'gradient' if backward else 'result'}: differs by {error:.1e}")
            if error > (1e-2 if x.is_cuda else 1e-5):
                missed.append(f"{name}: the same result")
    return missed


def judge_layers(results: dict[str, dict[str, race.Result]]) -> list[str]:
    """Which races against LiteMLA were lost."""
    missed = []
    for name, result in results.items():
        published, ours = result.values()
        if ours.best > race.TOLERANCE * published.best:
            missed.append(f"{name}: no slower")
        if ours.peak_mb > race.TOLERANCE * published.peak_mb:
            missed.append(f"{name}: no more memory")
    return missed


def judge_growth(results: dict[str, dict[str, race.Result]]) -> list[str]:
    """Print the exponents; whether ours is too steep."""
    exponents = {
        contender: slope([(side**2, results[f"N={side**2}"][contender].best) for side in SIDES])
        for contender in ("softmax SDPA", "ours")
    }
    for contender, exponent in exponents.items():
        print(f"{contender}: time grows like N^{exponent:.2f}")
    return ["cost linear in N"] if exponents["ours"] > STEEPEST else []


def main() -> None:
    """Print the tables; exit 1 if a target is missed."""
    arguments = race.options(__doc__).parse_args()
    passes, formats = {"forward": False, "both": True}, {"NCHW": False, "NHWC": True}
    races = {
        f"{grid} {scale} {pass_} {format_}": partial(
            layer_race, SCALES[scale], GRIDS[grid], passes[pass_], formats[format_]
        )
        for grid, scale, pass_, format_ in product(GRIDS, SCALES, passes, formats)
    }
    growth = {f"N={side**2}": partial(growth_race, side) for side in SIDES}
    results = race.run(races | growth, arguments)
    missed = same_results(arguments.device)
    missed += judge_layers({name: results[name] for name in races if name in results})
    if set(growth) <= set(results):
        missed += judge_growth(results)
    race.verdict(missed)


if __name__ == "__main__":
    main()
