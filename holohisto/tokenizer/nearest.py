"""The nearest of many codes: fp32 scores of all codes, float64 between near ties.

fp32 cannot decide between codes whose scores differ by less than its rounding error. These few are
compared in float64, so that tokens depend on no chunk, thread or device.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

SCORES = {"cpu": 2**21, "cuda": 2**26}
"""fp32 scores computed at a time: on a CPU its cache holds them, on a GPU they keep it busy."""
LANES = 32
"""Groups of codes whose highest score is found before single codes are compared: much faster."""
GATHERED = 2**20
"""Numbers of candidates' codes gathered at a time."""


class Scorer(NamedTuple):
    """Score of code k for a latent z, highest is nearest: z . codes_k - offsets_k."""

    codes: Tensor
    """(K, d)."""
    offsets: Tensor
    """(K,)."""


def least(latents: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return argmin over k of bias_k - latent . weight_k, exactly; the lowest index wins a tie.

    A chunk of latents is multiplied by all codes in fp32, under autocast too, so that memory is
    O(chunk * K). Both are centred on the codes' mean, so that less of it is lost to rounding.

    Args:
        latents: (..., d) of any floating dtype.
        weight: (K, d).
        bias: (K,) float64.

    Returns:
        (...) int64; 0 for a latent that is not a number.
    """
    with torch.autocast(latents.device.type, enabled=False):
        rows = latents.reshape(-1, weight.shape[1])
        centre = weight.double().mean(dim=0)
        codes = weight.double() - centre
        offsets = bias - codes @ centre
        exact = Scorer(codes, offsets - offsets.mean())
        coarse = Scorer(exact.codes.float(), exact.offsets.float())
        bounds = codes.norm(dim=1).max(), exact.offsets.abs().max()
        tokens = []
        for chunk in rows.split(max(1, SCORES[rows.device.type] // len(codes))):
            near = chunk.double() - centre
            size = near.norm(dim=1) * bounds[0] + bounds[1]
            row, code = _candidates(near.float(), size, coarse)
            if len(row) != len(near):
                code = _best(near, size, exact, row, code)
            tokens.append(code)
    return torch.cat(tokens).reshape(latents.shape[:-1])


def _candidates(near: Tensor, size: Tensor, scorer: Scorer) -> tuple[Tensor, Tensor]:
    """Return rows and codes of all scores that may be the best but for rounding, in row order.

    Args:
        near: (n, d) float32.
        size: (n,) float64, upper bound of the scores of each latent.
        scorer: float32.

    Returns:
        Two of (m,) int64, m >= n: at least one code for each row; all, if it is not a number.
    """
    count, d = scorer.codes.shape
    lanes = math.gcd(count, LANES)
    scores = torch.addmm(scorer.offsets, near, scorer.codes.T, beta=-1)
    scores = scores.unflatten(1, (lanes, -1))  # (n, lanes, K / lanes)
    highest = scores.amax(dim=1)
    # Rounding of both factors, of d products and sums and of the offset; in both scores compared.
    slack = 4 * (d + 8) * 2.0**-24 * size
    limit = (highest.amax(dim=1) - slack).float()[:, None]
    row, column = (~(highest < limit)).nonzero(as_tuple=True)  # so that NaN is a candidate
    pair, lane = (~(scores[row, :, column] < limit[row])).nonzero(as_tuple=True)
    return row[pair], lane * (count // lanes) + column[pair]


def _best(near: Tensor, size: Tensor, scorer: Scorer, row: Tensor, code: Tensor) -> Tensor:
    """Return the best of each row's candidates, (n,); all numbers are float64 here."""
    width = max(1, GATHERED // near.shape[1])
    chunks = zip(row.split(width), code.split(width), strict=True)
    scores = torch.cat(
        [scorer.offsets[k] - torch.linalg.vecdot(near[n], scorer.codes[k]) for n, k in chunks]
    )
    best = scores.new_full((len(near),), torch.inf).scatter_reduce(0, row, scores, "amin")
    best += size * ((near.shape[1] + 8) * torch.finfo(near.dtype).eps)
    tied = scores <= best[row]
    first = row.new_zeros(len(near))  # stays 0 where a latent is not a number
    return first.scatter_reduce(0, row[tied], code[tied], "amin", include_self=False)
