"""The nearest of many codes: a coarse product for all of them, float64 for those that come near.

Rounding to bf16 loses little here: of thousands of codes only one or two come so near to the best
that it cannot tell them apart, and those are compared in float64. So the answer is float64's,
whatever the coarse product was made of.
"""

from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

SCORES = {"cpu": 2**21, "cuda": 2**26}
"""fp32 scores at a time: on a CPU what its cache holds, on a GPU what keeps it busy."""
BF16_SCORES = 2**24
"""bf16 scores at a time: fewer, and the product of two small matrices is slow."""
LONG = 128
"""Length of codes from which a product in bf16 saves more than the rivals it leaves cost."""
LANES = 64
"""Groups of codes of which the highest score is found first: much faster than its place."""
PATIENCE = 8
"""Rivals a latent, on average, up to which comparing them costs less than a finer product."""
RIVALS = 2**20
"""Numbers of rivals' codes gathered at a time."""
ORDER = {torch.bfloat16: torch.int16, torch.float32: torch.int32}
"""Positive floats are ordered as the integers of their bits, which CPUs compare faster."""


def least(latents: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return argmin over k of bias_k - latent . weight_k, exactly; the lowest index wins a tie.

    A chunk of latents is multiplied by all codes, under autocast too, so that memory is
    O(chunk * K): long codes in bf16 where a CPU multiplies it fast, else in fp32. Both are centred
    on the codes' mean, which takes out what cancels. float64 decides between codes that come nearer
    than rounding can tell: tokens depend on no chunk, thread or device.

    Args:
        latents: (..., d) of any floating dtype.
        weight: (K, d).
        bias: (K,) float64.

    Returns:
        (...) int64.
    """
    with torch.autocast(latents.device.type, enabled=False):
        rows = latents.reshape(-1, weight.shape[1])
        centre = weight.double().mean(dim=0)
        codes = weight.double() - centre
        offsets = bias - codes @ centre
        offsets -= offsets.mean()
        in_bf16 = rows.device.type == "cpu" and codes.shape[1] >= LONG and multiplies_bf16()
        search = _Search(codes, offsets, torch.bfloat16 if in_bf16 else torch.float32)
        tokens = [search(chunk, centre) for chunk in rows.split(search.step)]
    return torch.cat(tokens).reshape(latents.shape[:-1])


def multiplies_bf16() -> bool:
    """Whether this CPU has AMX for bf16; without it such products are slow."""
    return bool(torch.cpu.get_capabilities().get("amx_bf16"))


class _Search:
    """Codes in a coarse precision, and in float64."""

    def __init__(self, codes: Tensor, offsets: Tensor, dtype: torch.dtype) -> None:
        """`codes` (K, d) and `offsets` (K,), float64 with mean 0."""
        self.codes, self.offsets, self.dtype = codes, offsets, dtype
        scores = BF16_SCORES if dtype == torch.bfloat16 else SCORES[codes.device.type]
        self.step = max(1, scores // len(codes))
        # an offset is two numbers of the coarse precision, times 1
        high = offsets.to(dtype)
        low = (offsets - high.double()).to(dtype)
        table = torch.cat([codes.to(dtype), -high[:, None], -low[:, None]], dim=1)  # (K, d + 2)
        self.table = functional.pad(table, (0, 0, 0, -len(codes) % LANES))
        self.largest = codes.norm(dim=1).max()
        self.rounded = (codes - codes.to(dtype).double()).norm(dim=1).max()
        self.offset = offsets.abs().max()

    def __call__(self, chunk: Tensor, centre: Tensor) -> Tensor:
        """(n, d) of any floating dtype -> the nearest codes, (n,) int64."""
        near = chunk.double() - centre
        row, code = self._rivals(near)
        if len(row) == len(near):
            return code
        if self.dtype == torch.bfloat16 and len(row) > PATIENCE * len(near):
            parts = chunk.split(self._finer.step)
            return torch.cat([self._finer(part, centre) for part in parts])
        return self._decide(near, row, code)

    @cached_property
    def _finer(self) -> "_Search":
        """The same codes in fp32, which few codebooks need."""
        return _Search(self.codes, self.offsets, torch.float32)

    def _rivals(self, near: Tensor) -> tuple[Tensor, Tensor]:
        """Return rows and codes of all scores that rounding may have kept from being the best.

        Every row, in order, has at least one.
        """
        coarse = near.to(self.dtype)
        one = coarse.new_ones(len(near), 2)
        scores = torch.cat([coarse, one], dim=1) @ self.table.T  # (n, K)
        bits = scores.view(ORDER[self.dtype]).unflatten(1, (LANES, -1))  # (n, lanes, K / lanes)
        highest = bits.amax(dim=1)  # (n, K / lanes)
        limit = self._limit(highest.amax(dim=1), near, coarse)
        row, column = (highest >= limit[:, None]).nonzero(as_tuple=True)
        pair, lane = (bits[row, :, column] >= limit[row, None]).nonzero(as_tuple=True)
        row, code = row[pair], lane * bits.shape[2] + column[pair]
        real = code < len(self.codes)  # what fills the lanes up has the score 0
        return row[real], code[real]

    def _limit(self, best: Tensor, near: Tensor, coarse: Tensor) -> Tensor:
        """Return the bits below which no score can be the best, (n,).

        The mean score is 0, so the best one is positive but for rounding; where it is not, or no
        more than that, integers do not order and all codes are rivals.
        """
        info, d = torch.finfo(self.dtype), near.shape[1]
        score = best.view(self.dtype).double()
        length, off = near.norm(dim=1), (near - coarse.double()).norm(dim=1)
        slack = off * self.largest + (length + off) * self.rounded
        # products are exact in fp32, their sum is not; nor is an offset in two parts
        slack += (length * self.largest + self.offset) * (d + 8) * 2.0**-23
        slack += self.offset * info.eps**2
        lowest = (score * (1 - info.eps) - 2 * slack) * (1 - info.eps)
        limit = lowest.to(self.dtype)  # to the nearest, therefore lowered before
        every = torch.iinfo(ORDER[self.dtype]).min
        return torch.where(lowest > info.tiny, limit.view(ORDER[self.dtype]), every)

    def _decide(self, near: Tensor, row: Tensor, code: Tensor) -> Tensor:
        """Return the best of each row's rivals as float64 has it, (n,)."""
        width = max(1, RIVALS // near.shape[1])
        parts = zip(row.split(width), code.split(width), strict=True)
        scores = torch.cat(
            [self.offsets[k] - torch.linalg.vecdot(near[n], self.codes[k]) for n, k in parts]
        )
        best = scores.new_full((len(near),), torch.inf).scatter_reduce(0, row, scores, "amin")
        size = near.norm(dim=1) * self.largest + self.offset
        best += size * ((near.shape[1] + 8) * torch.finfo(near.dtype).eps)
        tied = scores <= best[row]
        first = row.new_zeros(len(near))  # stays 0 where a latent is not a number
        return first.scatter_reduce(0, row[tied], code[tied], "amin", include_self=False)
