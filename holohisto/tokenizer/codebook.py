"""Codebooks: K codes of length d, and the token of a latent."""

from torch import Tensor, nn

from holohisto.tokenizer.nearest import least


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
