"""The backbone's input: codes of tokens, or squares of pixels, projected and normalised."""

import torch
from torch import Tensor, nn

from holohisto.segmenter.holohisto.norm import norm


class Embedding(nn.Module):
    """A projection and a norm; then a learned vector in place of every token that is left out.

    The norm sees the code of every token, also of those left out, so that its statistics are the
    same with any share left out, and in inference, where none is. The learned vector is BERT's mask
    token (arXiv 1810.04805).
    """

    def __init__(self, project: nn.Module, channels: int, masked: bool) -> None:
        """Build; the vector starts at 0, the mean of normalised embeddings.

        Args:
            project: Maps codes or pixels to (B, channels, h, w).
            channels: Channels of the embedding.
            masked: Whether places may be left out.
        """
        super().__init__()
        self.project, self.norm = project, norm(channels)
        self.left_out = nn.Parameter(torch.zeros(channels)) if masked else None

    def forward(self, x: Tensor, known: Tensor | None = None) -> Tensor:
        """Embed codes (B, d, h, w) or pixels (B, 3, f h, f w).

        Args:
            x: The input of `project`.
            known: (B, h, w) bool, False for a token left out; None: nothing is left out.

        Returns:
            (B, channels, h, w).
        """
        embedded = self.norm(self.project(x))
        if self.left_out is None or known is None:
            return embedded
        vector = self.left_out.to(embedded.dtype)[:, None, None]
        return torch.where(known[:, None], embedded, vector)
