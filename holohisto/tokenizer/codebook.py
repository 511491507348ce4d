"""Codebooks: K codes of length d, and the token of a latent."""

import math
from collections.abc import Sequence

import numpy as np
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

    Every dimension of a latent is bounded by tanh and rounded to one of a few levels; a code is one
    combination of levels. Nothing is learned, so that no code dies and the codebook cannot
    collapse onto few codes. Levels lie symmetrically around 0, also where their number is even, so
    that two levels are the signs of lookup-free quantisation (arXiv 2310.05737).
    """

    codes: Tensor
    """(K, d), K the product of the levels; values between -1 and 1."""
    counts: Tensor
    strides: Tensor

    def __init__(self, levels: Sequence[int]) -> None:
        """`levels`: number of values of each dimension, each at least 2."""
        super().__init__()
        # By numpy: for a division of integers on the device `meta`, torch imports its compiler.
        counts = np.array(levels)
        strides = np.array([math.prod(levels[:n]) for n in range(len(levels))])
        index = np.arange(math.prod(levels))[:, None] // strides % counts  # (K, d)
        codes = (2 * index + 1).astype(np.float32) / counts.astype(np.float32) - 1
        for name, values in {"codes": codes, "counts": counts, "strides": strides}.items():
            self.register_buffer(name, torch.from_numpy(values), persistent=False)

    def assign(self, latents: Tensor) -> Tensor:
        """Return the token of every latent: (..., d) float -> (...) int64."""
        return (self._levels(latents.detach().float().tanh()) * self.strides).sum(dim=-1)

    def quantise(self, latents: Tensor) -> Tensor:
        """Return the codes of latents, (..., d) both.

        Rounding passes its gradient straight through (arXiv 1308.3432).
        """
        bounded = latents.float().tanh()
        rounded = (2 * self._levels(bounded) + 1) / self.counts - 1
        return bounded + (rounded - bounded).detach()

    def _levels(self, bounded: Tensor) -> Tensor:
        """Return the index of the level of values from -1 to 1, int64."""
        index = ((bounded + 1) / 2 * self.counts).floor().long()
        return torch.minimum(index.clamp_min(0), self.counts - 1)
