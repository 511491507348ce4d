"""Codebooks: K codes of length d, and the token of a latent."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from holohisto.tokenizer.nearest import least


class Codebook(nn.Module):
    """Codes that stand for the latents nearest to them (Eq. 1)."""

    def __init__(self, size: int, dimension: int) -> None:
        """Codes start at random; a checkpoint sets them."""
        super().__init__()
        self.embedding = nn.Embedding(size, dimension)
        nn.init.uniform_(self.embedding.weight, -1 / size, 1 / size)

    @property
    def codes(self) -> Tensor:
        """The codes, (K, d)."""
        return self.embedding.weight

    def assign(self, latents: Tensor) -> Tensor:
        """Return the token of every latent: (..., d) float -> (...) int64.

        The nearest code in float64; the lowest index wins a tie.
        """
        codes = self.codes.detach()
        return least(latents.detach(), codes, 0.5 * codes.double().square().sum(dim=1))


class ProjectedCodebook(nn.Module):
    """Codes chosen by the highest score of a projection: the quantiser of Gumbel VQGANs.

    The names are those of taming-transformers' GumbelQuantize, which samples even in evaluation;
    here nothing is sampled.
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


class ScalarCodebook(nn.Module):
    """Finite scalar quantisation (Mentzer et al., arXiv 2309.15505).

    Every dimension of a latent is bounded and rounded to one of a few levels; a code is one
    combination of levels. Nothing is learned, so that no code dies and the codebook cannot
    collapse onto few codes.
    """

    codes: Tensor
    """(K, d), K the product of the levels; values from -1 to 1."""
    counts: Tensor
    strides: Tensor
    bound: Tensor
    offset: Tensor

    def __init__(self, levels: Sequence[int]) -> None:
        """`levels`: number of values of each dimension, each at least 2."""
        super().__init__()
        counts = torch.tensor(levels)
        strides = torch.tensor([math.prod(levels[:n]) for n in range(len(levels))])
        # A little wider than the outermost levels, so that tanh reaches them (arXiv 2309.15505).
        bound = (counts - 1) / 2 * 1.001
        offset = torch.where(counts % 2 == 0, 0.5, 0.0)
        index = torch.arange(math.prod(levels))[:, None] // strides % counts  # (K, d)
        codes = (index - counts // 2) / (counts // 2)
        for name, values in {"bound": bound, "offset": offset, "codes": codes}.items():
            self.register_buffer(name, values.float(), persistent=False)
        for name, values in {"counts": counts, "strides": strides}.items():
            self.register_buffer(name, values, persistent=False)

    def assign(self, latents: Tensor) -> Tensor:
        """Return the token of every latent: (..., d) float -> (...) int64."""
        levels = self._bounded(latents.detach().float()).round().long()
        return ((levels + self.counts // 2) * self.strides).sum(dim=-1)

    def quantise(self, latents: Tensor) -> Tensor:
        """Return the codes of latents, (..., d) both.

        Rounding passes its gradient straight through (arXiv 1308.3432).
        """
        bounded = self._bounded(latents.float())
        rounded = bounded + (bounded.round() - bounded).detach()
        return rounded / (self.counts // 2)

    def _bounded(self, latents: Tensor) -> Tensor:
        """Map latents to between the outermost levels, rounding to integers there."""
        centred = latents + torch.atanh(self.offset / self.bound)
        return torch.tanh(centred) * self.bound - self.offset
