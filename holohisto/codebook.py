"""Codebooks: K codes of length d, and which of them stands for a latent."""

import torch
from torch import Tensor, nn
from torch.nn import functional

SCORES = {"cpu": 2**21, "cuda": 2**26}
"""Scores at a time: on a CPU what its cache holds, on a GPU what keeps it busy."""
BLOCK = 64
"""Codes of which the least score is found first: much faster than its place among all."""

Largest = tuple[Tensor, Tensor]
"""Largest length of a code, and largest offset."""


class Codebook(nn.Module):
    """Codes that stand for the latents nearest to them (Eq. 1)."""

    def __init__(self, size: int, dimension: int) -> None:
        """Codes start at random; training or a checkpoint sets them."""
        super().__init__()
        self.embedding = nn.Embedding(size, dimension)
        nn.init.uniform_(self.embedding.weight, -1 / size, 1 / size)

    @property
    def codes(self) -> Tensor:
        """The codes, (K, d)."""
        return self.embedding.weight

    def assign(self, latents: Tensor) -> Tensor:
        """Return the token of every latent: (..., d) float -> (...) int64.

        The nearest code, as float64 has it; the lowest index wins a tie.
        """
        codes = self.codes.detach()
        return least(latents.detach(), codes, 0.5 * codes.double().square().sum(dim=1))


class ProjectedCodebook(nn.Module):
    """Codes with a score of their own: the quantiser of Gumbel VQGANs, by argmax, never sampled.

    The names are taming-transformers' (GumbelQuantize), whose evaluation adds noise all the same.
    """

    def __init__(self, size: int, dimension: int) -> None:
        """A checkpoint sets scores and codes."""
        super().__init__()
        self.proj = nn.Conv2d(dimension, size, 1)
        self.embed = nn.Embedding(size, dimension)

    @property
    def codes(self) -> Tensor:
        """The codes, (K, d)."""
        return self.embed.weight

    def assign(self, latents: Tensor) -> Tensor:
        """Return the token with the highest score for every latent: (..., d) -> (...) int64."""
        weight, bias = self.proj.weight.detach()[:, :, 0, 0], self.proj.bias
        assert bias is not None
        return least(latents.detach(), weight, -bias.detach().double())


def least(latents: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return argmin over k of bias_k - latent . weight_k, exactly; the lowest index wins a tie.

    Chunks of latents against all codes in fp32, under autocast too, so that memory is O(chunk * K).
    Both are centred on the codes' mean, which takes out what cancels. Where another code comes
    nearer than fp32 can tell, float64 decides: tokens depend on no chunk, thread or device.

    Args:
        latents: (..., d) of any floating dtype.
        weight: (K, d).
        bias: (K,) float64.

    Returns:
        (...) int64.
    """
    with torch.autocast(latents.device.type, enabled=False):
        rows = latents.reshape(-1, weight.shape[1])
        centre = weight.double().mean(dim=0).float()
        codes = weight.double() - centre
        offsets = bias - codes @ centre.double()
        offsets -= offsets.mean()
        largest = (codes.norm(dim=1).max(), offsets.abs().max())
        step = max(1, SCORES[rows.device.type] // len(codes))
        tokens, unsure = _in_fp32(rows, centre, codes.float(), offsets.float(), largest, step)
        for part in unsure.split(max(1, step // 2)):
            near = rows[part].double() - centre
            scores = torch.addmm(offsets, near, codes.T, alpha=-1)
            limit = scores.amin(dim=1) + _rounding(near, largest)
            tokens[part] = (scores <= limit[:, None]).int().argmax(dim=1)
    return tokens.reshape(latents.shape[:-1])


def _in_fp32(
    rows: Tensor, centre: Tensor, codes: Tensor, offsets: Tensor, largest: Largest, step: int
) -> tuple[Tensor, Tensor]:
    """Return the least score's place, (N,), and the rows where fp32 cannot be sure of it."""
    missing = -len(codes) % BLOCK
    padded = functional.pad(codes, (0, 0, 0, missing))
    padded_offsets = functional.pad(offsets, (0, missing), value=torch.inf)
    buffer = codes.new_empty(min(step, len(rows)), len(padded))
    tokens, unsure = [], []
    for chunk in rows.split(step):
        near = chunk.float() - centre
        scores = torch.addmm(padded_offsets, near, padded.T, alpha=-1, out=buffer[: len(near)])
        blocks = scores.unflatten(1, (-1, BLOCK))
        lowest = blocks.amin(dim=2)
        block = lowest.argmin(dim=1)
        inside = blocks[torch.arange(len(near), device=near.device), block]
        tokens.append(block * BLOCK + inside.argmin(dim=1))
        limit = (inside.amin(dim=1) + _rounding(near, largest))[:, None]
        rivals = (lowest <= limit).sum(dim=1) + (inside <= limit).sum(dim=1)
        unsure.append(rivals > 2)  # the least one counts twice
    return torch.cat(tokens), torch.cat(unsure).nonzero()[:, 0]


def _rounding(near: Tensor, largest: Largest) -> Tensor:
    """Bound by how much two equal scores can differ in the precision of `near`, (N,).

    Each is d products, their sum and the centring, all rounded.
    """
    size = near.norm(dim=1) * largest[0] + largest[1]
    return size * ((near.shape[1] + 8) * torch.finfo(near.dtype).eps)
