"""Learning the codebook: k-means to start from, then moving averages with restart of dead codes.

Van den Oord et al., arXiv 1906.00446, appendix A.1.
"""

import math

import torch
from torch import Tensor

from holohisto.tokenizer.codebook import Codebook

EMA_DECAY = 0.97
DEAD_BELOW = 0.05
"""Expected uses per step below which a code is dead and restarts at a latent of the batch."""


class MovingCodebook:
    """Codes as exponential moving averages of the latents assigned to them."""

    def __init__(self, codebook: Codebook) -> None:
        """Keep the sums beside the codebook; only training needs them."""
        self.weight = codebook.embedding.weight.requires_grad_(False)
        self.count = torch.ones(len(self.weight), device=self.weight.device)
        self.sum = self.weight.clone()

    def start(self, codes: Tensor) -> None:
        """Set the codes, (K, d)."""
        self.weight.copy_(codes)
        self.sum = self.weight.clone()
        self.count.fill_(1.0)

    @torch.no_grad()
    def update(self, latents: Tensor, tokens: Tensor, restart: bool) -> None:
        """Move codes towards the latents assigned to them.

        Args:
            latents: (..., d) float.
            tokens: (...) int64, the code of each latent.
            restart: Whether dead codes restart at random latents of this batch.
        """
        flat, chosen = latents.reshape(-1, latents.shape[-1]).float(), tokens.reshape(-1)
        uses = torch.bincount(chosen, minlength=len(self.weight)).float()
        total = torch.zeros_like(self.weight).index_add_(0, chosen, flat)
        self.count.mul_(EMA_DECAY).add_(uses, alpha=1 - EMA_DECAY)
        self.sum.mul_(EMA_DECAY).add_(total, alpha=1 - EMA_DECAY)
        alive = self.count[:, None] > 1e-4
        self.weight.copy_(torch.where(alive, self.sum / self.count[:, None], self.weight))
        dead = (self.count < DEAD_BELOW).nonzero().flatten()
        if restart and len(dead):
            fresh = flat[torch.randint(len(flat), (len(dead),), device=flat.device)]
            self.weight[dead], self.sum[dead], self.count[dead] = fresh, fresh, 1.0

    @property
    def perplexity(self) -> float:
        """Perplexity of the codes' use: exp of its entropy, from 1 to K."""
        share = self.count / self.count.sum()
        return math.exp(float(-(share * share.clamp_min(1e-12).log()).sum()))

    @property
    def used(self) -> int:
        """Number of codes that are not dead."""
        return int((self.count >= DEAD_BELOW).sum())


def k_means(points: Tensor, clusters: int, sweeps: int = 10) -> Tensor:
    """Cluster points by Lloyd's algorithm; empty clusters restart at random points.

    Args:
        points: (n, d) float32, n >= 1; with n < clusters, points are drawn more than once.
        clusters: Number of clusters.
        sweeps: Iterations.

    Returns:
        Centres, (clusters, d) float32.
    """
    centres = points[torch.randint(len(points), (clusters,), device=points.device)].clone()
    if len(points) >= clusters:
        centres = points[torch.randperm(len(points), device=points.device)[:clusters]].clone()
    book = Codebook(*centres.shape).to(points.device)
    for _ in range(sweeps):
        book.embedding.weight.data.copy_(centres)
        chosen = book.assign(points)
        count = torch.bincount(chosen, minlength=clusters)
        total = torch.zeros_like(centres).index_add_(0, chosen, points)
        centres = total / count.clamp_min(1)[:, None]
        empty = (count == 0).nonzero().flatten()
        centres[empty] = points[torch.randint(len(points), (len(empty),), device=points.device)]
    return centres
